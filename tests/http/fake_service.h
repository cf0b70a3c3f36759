/* fake_service.h -- service.h in memory, for tests of HTTP alone: a sorted array for a map, and switches for what can go
 * wrong. Link it in place of src/server. */
#ifndef TESTS_HTTP_FAKE_SERVICE_H
#define TESTS_HTTP_FAKE_SERVICE_H

#include "server/service.h"

struct fake_call {
    unsigned count;
    struct service_member_change change;
    char name[SERVICE_NAME_MAX];
};

struct fake {
    enum service_code answer; /* to whatever blocks; SERVICE_OK: as the map says */
    char text[240];           /* goes with it */
    unsigned delay_ms;        /* before it is answered */
    unsigned scan_breaks;     /* a scan or backup ends, not complete, after so many items; 0: never */
    bool not_ready, no_leader;
    bool known_member;                                              /* an added member was there already */
    enum service_consistency consistency;                           /* of the last read */
    struct fake_call added, updated, removed, transferred, invited; /* the last of each */
    struct service_invitation invitation;                           /* the last */
    struct fake_call expected;                                      /* of `change` only peer */
    enum profile leader_profile;
    unsigned writes;
    unsigned backups_open, uploads_open;
    uint64_t uploaded; /* bytes of a dump, the last time */
};

#define FAKE_UPLOAD_LIMIT 1000000u
#define FAKE_DUMP_LINE    100 /* bytes of a dump for each pair */

struct node *fake_new(void); /* an empty map; free with fake_free */
void fake_free(struct node *n);
struct fake *fake_of(struct node *n);
/* Puts a pair there without HTTP. */
void fake_set(struct node *n, struct view key, struct view value);

#endif
