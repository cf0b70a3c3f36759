/* err.h -- the operating errors: one enum, negative, and a text for each.
 *
 * A function that can fail returns 0 or one of these; its outputs go through pointers and are untouched on failure.
 * Whoever handles an error logs it; whoever passes it on does not. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    ERR_IO = -100,    /* a read, write or sync failed: after it nobody knows what is on the disk */
    ERR_NO_SPACE,     /* disk full, quota, or the map's size limit: nothing was written; may pass */
    ERR_CORRUPT,      /* a checksum or an order is wrong in what we stored */
    ERR_MALFORMED,    /* bytes from outside that do not decode */
    ERR_TOO_LONG,     /* a name, path, key or value over its limit */
    ERR_NOT_FOUND,    /* no such key, file, entry or member */
    ERR_EXISTS,       /* it is there already */
    ERR_LOCKED,       /* another process owns it */
    ERR_PERMISSION,   /* EACCES, EPERM, read-only file system */
    ERR_FORMAT,       /* written by a newer version, or no raftd file at all */
    ERR_TIMEOUT,      /* the deadline passed */
    ERR_CLOSED,       /* the other side closed or reset the connection */
    ERR_UNREACHABLE,  /* refused, no route, no such network */
    ERR_RESOLVE,      /* the name has no address */
    ERR_IN_USE,       /* the address to listen on is taken */
    ERR_NO_RESOURCES, /* out of descriptors, threads, reader slots, address space */
    ERR_REFUSED,      /* the other side understood and said no */
    ERR_STOPPED,      /* we are stopping */
    ERR_INVALID       /* an argument from the user that makes no sense */
};

const char *err_text(int err); /* a static text without full stop; for 0 "ok" */
int err_from_errno(int error); /* ERR_IO where nothing fits better */

/* The sentence for the person who must act: what was wrong and what to do. Filled where the cause is known, printed
 * where the error is handled. */
struct why {
    char text[400];
};
/* Fills *why (NULL is fine; too long is cut) and returns err, so that callers write `return why_set(...)`. */
int why_set(struct why *why, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
