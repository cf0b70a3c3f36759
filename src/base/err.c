#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *err_text(int err)
{
    if (err == 0)
        return "ok";
    switch ((enum err)err) {
    case ERR_IO:
        return "input/output error";
    case ERR_NO_SPACE:
        return "no space left";
    case ERR_CORRUPT:
        return "stored data is corrupt";
    case ERR_MALFORMED:
        return "malformed data";
    case ERR_TOO_LONG:
        return "too long";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_EXISTS:
        return "exists already";
    case ERR_LOCKED:
        return "locked by another process";
    case ERR_PERMISSION:
        return "permission denied";
    case ERR_FORMAT:
        return "unknown format";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_CLOSED:
        return "connection closed";
    case ERR_UNREACHABLE:
        return "unreachable";
    case ERR_RESOLVE:
        return "name has no address";
    case ERR_IN_USE:
        return "address in use";
    case ERR_NO_RESOURCES:
        return "out of system resources";
    case ERR_REFUSED:
        return "refused";
    case ERR_STOPPED:
        return "stopping";
    case ERR_INVALID:
        return "invalid argument";
    }
    return "unknown error";
}

int err_from_errno(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EBUSY:
        return ERR_LOCKED;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENAMETOOLONG:
        return ERR_TOO_LONG;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN:
    case EPIPE:
        return ERR_CLOSED;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        return ERR_UNREACHABLE;
    case EADDRINUSE:
        return ERR_IN_USE;
    case EAGAIN: /* of a lock or a socket it means something else: their callers look at errno themselves */
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return ERR_NO_RESOURCES;
    default: /* the numbers are the system's, not an enum of ours */
        return ERR_IO;
    }
}

int why_set(struct why *why, int err, const char *format, ...)
{
    va_list args;

    if (why == NULL)
        return err;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return err;
}
