/* change.h -- what a change of the members makes of the configuration in force: planned and judged, not done.
 *
 * Nothing here waits or proposes: service_members.c does, for people, and timer.c, for what follows by itself. */
#ifndef SERVER_CHANGE_H
#define SERVER_CHANGE_H

#include "server/service.h"
#include "server/shared.h"

enum change_kind { CHANGE_ADD, CHANGE_EXPECT, CHANGE_UPDATE, CHANGE_REMOVE };
struct change {
    enum change_kind kind;
    const char *name_or_id; /* of an update or a removal: whom */
    const struct service_member_change *asked;
    raft_time
        patience; /* a leader waits so long for members that have not answered it yet, before it calls them down */
};

/* Makes of *next, the configuration in force, what was asked for (nothing if it is so already). A refusal has its text in
 * r->text; r->created: a member that was not there. An addition with id 0 only finds out whether it could be. */
enum service_code change_plan(const struct shared *s, const struct change *c, struct members *next,
                              struct service_result *r);
/* Sets r->outlook and r->text, a sentence, for the cluster after the change; CONFLICT if it takes votes or addresses so
 * that those who can be reached now are no quorum any more, unless it is asked for with force, or if it gives another address to
 * a member that is up; BUSY if a leader is so new that it does not know. */
enum service_code change_judge(const struct shared *s, raft_time now, const struct change *c,
                               const struct members *next, struct service_result *r);
bool change_is_none(const struct shared *s, const struct members *next);
/* Whether we, who lead, would have no vote after it: leadership is handed over first [thesis 4.2.2]. */
bool change_deposes_us(const struct shared *s, const struct members *next);
/* Whether voters that answer now, ourselves counted, would be a quorum of `next`. */
bool change_keeps_quorum(const struct shared *s, raft_time now, const struct members *next);
/* The member whose place m has taken, so that it can go: m has its vote, or has caught up and replaces a learner. */
const struct member *change_replaced(const struct shared *s, const struct member *m);

#endif
