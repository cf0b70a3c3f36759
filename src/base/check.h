/* check.h -- what must hold, in every build.
 *
 * CHECK is for programmer errors and stays on in releases; operating errors are an enum (err.h). */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#ifdef NDEBUG
#error "raftd keeps its assertions: build without NDEBUG"
#endif

#include <assert.h>

/* Ends the process (abort) with file, line and the condition if it is false. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_failed(#condition, __FILE__, __LINE__);                                                              \
    } while (0)

/* Ends the process with status 1 and this one line on stderr: for what no caller can handle (no memory). */
#define DIE(...) check_die(__VA_ARGS__)

_Noreturn void check_failed(const char *condition, const char *file, int line);
_Noreturn void check_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory that is there or the process is not. Free with free(). */
void *xmalloc(unsigned long size);
void *xcalloc(unsigned long count, unsigned long size);
void *xrealloc(void *old, unsigned long size);
char *xstrdup(const char *text);

#endif
