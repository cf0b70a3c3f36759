#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/check.h"

static struct timespec now_of(clockid_t id)
{
    struct timespec now;

    CHECK(clock_gettime(id, &now) == 0);
    return now;
}

/* 0 means "not yet" in many places, and some systems start this clock at boot. */
static uint64_t never_zero(uint64_t time)
{
    return time == 0 ? 1 : time;
}

uint64_t clock_now_ms(void)
{
    struct timespec now = now_of(CLOCK_MONOTONIC);

    return never_zero((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

uint64_t clock_now_us(void)
{
    struct timespec now = now_of(CLOCK_MONOTONIC);

    return never_zero((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

uint64_t clock_random(void)
{
    uint64_t value;
    ssize_t got;

    do {
        got = getrandom(&value, sizeof value, 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof value)
        DIE("the system gives no random numbers: %s", strerror(errno));
    return value;
}

uint64_t clock_wall_ns(void)
{
    struct timespec now = now_of(CLOCK_REALTIME);

    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void clock_wall_text(char *out, size_t size)
{
    struct timespec now = now_of(CLOCK_REALTIME);
    struct tm tm;
    char seconds[32] = "";

    CHECK(size >= sizeof "2026-11-21T02:07:00.123Z");
    if (gmtime_r(&now.tv_sec, &tm) != NULL)
        strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03uZ", seconds, (unsigned)(now.tv_nsec / 1000000) % 1000);
}
