/* guard.h -- an end that says something, where LMDB meets pages that make no sense.
 *
 * LMDB 0.9 has no checksums and trusts what is in a page: a flipped bit there may end in an error code, in an assertion of its
 * own, or in a signal (SIGBUS also where a file was cut short, or its disk does not give it back). Then there is nothing to
 * go on with; but the next start must know that it was this file, and the person who looks, what to do. */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include <stddef.h>

/* One file that is mapped. The strings live as long as it is watched. */
struct guard {
    const char *path;
    const char *note; /* a file to be written then, with `text` in it; NULL: none */
    const char *text;
    const char *advice; /* what to do, for the line on stderr */
    const void *base;   /* of the mapping */
    size_t size;
};

#define GUARDS_MAX 8

/* Handlers of SIGBUS, and of SIGSEGV as far as it comes from work on a guarded file; for the whole process, once. */
void guard_install(void);
void guard_watch(struct guard *g); /* any thread; at most GUARDS_MAX at once, more are not watched */
void guard_forget(struct guard *g);
/* This thread begins, or ends (NULL), to work on the pages of g. */
void guard_work(struct guard *g);
/* Writes the note and a line, and ends the process with status 1. */
_Noreturn void guard_end(const struct guard *g, const char *what);

#endif
