/* fake_logger.c -- the roles' log lines, seen only by a run that is told in detail. */
#include "base/logger.h"

#include <stdarg.h>
#include <stdio.h>

#include "sim.h"

bool logger_enabled(enum log_level level)
{
    return level <= LOG_LEVEL_INFO && sim_world() != NULL && sim_world()->verbose;
}

void logger_write(enum log_level level, const char *format, ...)
{
    const struct world *w = sim_world();
    va_list arguments;

    (void)level;
    va_start(arguments, format);
    printf("%10.3f %s: ", (double)w->now / 1000.0, w->current != NULL ? w->current->name : "-");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}
