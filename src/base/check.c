#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void check_failed(const char *condition, const char *file, int line)
{
    dprintf(STDERR_FILENO, "raftd: %s:%d: this must hold and does not: %s\n", file, line, condition);
    abort();
}

void check_die(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "raftd: %s\n", text);
    /* Not exit(): other threads are running, and what atexit would take apart is theirs. */
    _exit(1);
}

static void *or_die(void *memory, unsigned long size)
{
    if (memory == NULL)
        DIE("out of memory: %lu bytes were refused", size);
    return memory;
}

/* malloc(0) may be NULL, which would look like failure: ask for one byte at least. */
static unsigned long at_least_one(unsigned long size)
{
    return size == 0 ? 1 : size;
}

void *xmalloc(unsigned long size)
{
    return or_die(malloc(at_least_one(size)), size);
}

void *xcalloc(unsigned long count, unsigned long size)
{
    return or_die(calloc(at_least_one(count), at_least_one(size)), size);
}

void *xrealloc(void *old, unsigned long size)
{
    return or_die(realloc(old, at_least_one(size)), size);
}

char *xstrdup(const char *text)
{
    unsigned long size = strlen(text) + 1;

    return memcpy(xmalloc(size), text, size);
}
