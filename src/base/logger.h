/* logger.h -- log lines to stderr: levels, text or JSON, never blocking whoever logs.
 *
 * Any thread may log. Lines go into a ring; one thread of the logger's writes them out, so a stuck terminal or pipe
 * costs lines (counted and reported), never time. Before logger_start and after logger_stop lines are written at once.
 * One event is one line of text and key=value pairs:
 *     log_info("became leader: term=%llu", term)
 * The first words up to a colon are the event; JSON output has them as "event" and the pairs as fields. */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void logger_configure(enum log_level level, enum log_format format, const char *name); /* name of this member */
int logger_start(void); /* the writing thread; ERR_NO_RESOURCES */
void logger_stop(void); /* writes what is left */
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
