/* clock.h -- the time and a seed, for the few files that may know them (server/role.c, server/service.c, logger.c). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_now_ms(void);                  /* CLOCK_MONOTONIC, never 0 */
uint64_t clock_now_us(void);                  /* the same clock in microseconds */
uint64_t clock_wall_ns(void);                 /* nanoseconds since 1970 */
uint64_t clock_random(void);                  /* 64 bits of getrandom(2): ids and seeds */
void clock_wall_text(char *out, size_t size); /* "2026-11-21T02:07:00.123Z"; size at least 25 */

#endif
