/* logger.h -- log lines to stderr: levels, text or JSON, never blocking whoever logs.
 *
 * Any thread may log. Lines go into a ring; one thread of the logger's writes them out, so a stuck terminal or pipe
 * costs lines (counted and reported), never time. Before logger_start and after logger_stop lines are written at once,
 * and given up after half a second.
 * One event is one line of text and key=value pairs:
 *     log_info("became leader: term=%llu", term)
 * The words before the first ": " or pair are the event; JSON output has them as "event", the pairs as fields, and
 * words between the two as "message". A value ends before the next pair, so it may hold spaces; quote one that may hold
 * something like a pair (the quotes are not part of it in JSON). An integer becomes a number.
 * Control characters and bytes that are not UTF-8 are escaped, so whatever is logged, one event is one line. A message
 * is cut at 1023 bytes. errno is left as it was. */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* May be called again at any time; `name` is this member's and is copied (63 bytes of it). */
void logger_configure(enum log_level level, enum log_format format, const char *name);
/* Makes the writing thread, which takes no signals; ERR_NO_RESOURCES. Not while logger_stop runs. */
int logger_start(void);
/* Writes what is left and ends the thread, in about half a second at most: a stuck output loses the rest. */
void logger_stop(void);
bool logger_enabled(enum log_level level);
void logger_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_at(level, ...)                                                                                             \
    do {                                                                                                               \
        if (logger_enabled(level))                                                                                     \
            logger_write(level, __VA_ARGS__);                                                                          \
    } while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_LEVEL_TRACE, __VA_ARGS__)

#endif
