/* sim.h -- a whole cluster on virtual time: the core and the roles of raftd, on stores, links and clocks that misbehave.
 *
 * One thread, one random number generator: a seed is a run. src/raft and src/server are linked as they are; log_store.h,
 * kv_store.h, link.h and the logger's output are replaced by the linker with the fakes of this folder. README has the
 * fault model. Times are microseconds of the world unless they end in _ms; members see milliseconds of their own clock. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/link.h"
#include "server/deliver.h"
#include "server/role.h"
#include "server/shared.h"

#define SIM_NEVER       UINT64_MAX
#define SIM_MACHINES    12 /* members that a run may ever have */
#define SIM_CLIENTS_MAX 8
#define SIM_KEYS_MAX    6
#define SIM_VALUE_MAX   (128u << 10)
#define SIM_ROLES       (5 + RAFT_MEMBERS_MAX)
#define SIM_DUMP        "dump" /* names of files */
#define SIM_INCOMING    "incoming"
#define SIM_FILE_MAX    (1u << 20)
#define SIM_CLUSTER     UINT64_C(0x5eed)

struct world;
struct machine;

/* ---- chance ---------------------------------------------------------------------------------------------------- */

uint64_t sim_random(struct world *w);
uint64_t sim_below(struct world *w, uint64_t n);                    /* 0 .. n - 1; n 0: 0 */
uint64_t sim_between(struct world *w, uint64_t low, uint64_t high); /* both included */
bool sim_chance(struct world *w, unsigned per_mille);
uint64_t sim_mix(uint64_t a, uint64_t b); /* a hash of two numbers; not random */

/* ---- what kind of run (drawn from the seed by config.c, or set by a story) --------------------------------------- */

enum sim_fault {
    FAULT_CRASH,     /* kill -9: what a store call has returned for stays; what is under way happened wholly or not */
    FAULT_POWER,     /* a power cut: the map may also lose its last transactions */
    FAULT_KILL_ALL,  /* all members at once */
    FAULT_PAUSE,     /* SIGSTOP for a while */
    FAULT_PARTITION, /* two halves */
    FAULT_ONE_WAY,   /* single directed cuts */
    FAULT_RING,      /* each member hears only its neighbours */
    FAULT_BRIDGE,    /* two halves that share one member */
    FAULT_ISOLATE,   /* the leader alone */
    FAULT_FLAP,      /* a link that comes and goes */
    FAULT_CLOG,      /* a direction that delivers late */
    FAULT_SLOW_DISK, /* syncs of up to a second */
    FAULT_HUNG_DISK, /* one sync that takes very long */
    FAULT_NO_SPACE,  /* stores refuse to write for a while */
    FAULT_IO_ERROR,  /* a store fails: the member must stop */
    FAULT_CLOCK,     /* clocks run at other rates */
    FAULT_MEMBERS,   /* members come, go, get and lose their vote */
    FAULT_TRANSFER,  /* leadership is handed over */
    FAULT_MOVE,      /* a member restarts at another address */
    FAULT_SPOIL,     /* a disk gives back other bytes of the map than were written, or a map is not what was applied */
    FAULT_CHUNKS,    /* a member gets little of the map that it is sent */
    FAULT_DIVERGE,   /* a leader that is cut off takes many entries that nobody else gets */
    FAULT_COUNT
};

struct sim_config {
    uint64_t seed;
    unsigned voters, learners; /* at the start */
    raft_time election_ms, heartbeat_ms;
    uint32_t faults;                    /* bits of enum sim_fault */
    uint64_t fault_every;               /* mean time between two faults */
    uint64_t delay_min, delay_max;      /* of a frame */
    unsigned loss, duplicate, straggle; /* per mille of frames; straggle: held back for long */
    bool stream;                        /* frames of a connection stay in order and a lost one breaks it */
    uint64_t sync_min, sync_max;        /* of a log write */
    unsigned slow_sync;                 /* per mille of log writes take up to a second */
    uint64_t hop_max;                   /* from due to take */
    unsigned slow_hop;                  /* per mille of turns take up to an election timeout more */
    unsigned instant;                   /* per mille of turns whose work takes no time at all */
    unsigned clients, keys;
    uint64_t think_max; /* a client between two operations */
    uint64_t patience;  /* a client's deadline */
    unsigned batch;     /* writes that a client begins at once, at most */
    unsigned large;     /* per mille of values that take value_max bytes; the others eight */
    uint32_t value_max;
    unsigned reads, deletes, conditions; /* per mille of operations, of writes, of writes */
    uint64_t events;                     /* of chaos; then the world is healed */
    uint64_t log_max;                    /* entries of a log before it is compacted; 0: it never is */
    uint32_t chunk;                      /* bytes of a map sent at once */
    bool whole_history;                  /* check with the exhaustive checker too */
};

/* ---- machines ------------------------------------------------------------------------------------------------------ */

struct sim_role {
    const struct role_ops *ops;
    unsigned which;
    void *job;
    bool busy;             /* between take and done */
    uint64_t base, run_at; /* when it became due; when it will be taken */
};

/* The disk of a log: what log_store.h promises, plus what the checkers want to know (fake_log_store.c). */
struct disk_entry {
    struct entry *entry;
    uint64_t chain; /* a hash of this entry and all before it */
};
struct log_store {
    struct machine *machine;
    struct raft_hard_state hard;
    struct raft_pos base;
    uint64_t base_chain;
    raft_index last;
    struct disk_entry *entries; /* of base.index + 1 .. last */
    uint64_t capacity;
    struct raft_pos *runs;
    raft_index *configs;
    unsigned runs_capacity, configs_capacity;
};
raft_term disk_term_at(const struct log_store *s, raft_index index); /* 0: not there */
uint64_t disk_chain_at(const struct log_store *s, raft_index index); /* of base or a kept entry */
void disk_log_form(struct log_store *s, const struct members *m);    /* entry 1 of every first member */
void disk_log_clear(struct log_store *s);

struct map_slot {
    raft_index index; /* 0: no such key */
    uint64_t value;
};
struct map_state {
    struct raft_pos applied;
    raft_index config_index;
    struct entry *config; /* a reference; NULL: none yet */
    struct map_slot slots[SIM_KEYS_MAX];
    uint64_t hash;
    uint32_t damaged, wrong; /* bits of slots: one that does not verify; one that does, but has another value */
    raft_index installed;    /* of the dump that it was loaded from; 0: none */
};
#define MAP_UNDO 3
struct kv_store {
    struct machine *machine;
    struct map_state now;            /* with the open transaction */
    struct map_state committed;      /* what views show */
    struct map_state undo[MAP_UNDO]; /* before the last commits, the newest first */
    unsigned undo_count;
    bool doubted; /* noted on the disk */
    char doubt[KV_REASON_MAX];
};
void disk_map_clear(struct kv_store *s);
void disk_map_lose(struct kv_store *s); /* it cannot be read any more, and is put aside; while the member is down */
bool disk_map_spoil(struct kv_store *s, unsigned key, bool wrong); /* false: there is no such record on the disk */
bool disk_map_is_whole(const struct kv_store *s);
void disk_map_synced(struct kv_store *s); /* no power cut undoes what is committed now */
uint64_t map_slot_hash(unsigned key, const struct map_slot *slot);
uint64_t map_true_value(const struct map_state *s, unsigned key);
uint64_t map_true_hash(const struct map_state *s); /* what it would be if nothing in it were wrong */
void disk_files_clear(struct machine *m);
void disk_files_start(struct machine *m);
/* The end of the process: the open transaction is gone, and so many committed ones, as far as they are known. */
void disk_map_crash(struct kv_store *s, unsigned transactions);

struct machine {
    struct world *world;
    unsigned slot;
    bool known; /* it is or was a member */
    bool up, paused;
    bool leaves, gone; /* removed: it stops soon; it never starts again */
    unsigned life;     /* grows at each start and stop: what belongs to an older life is void */
    uint64_t resume_at;
    raft_id id;
    char name[MEMBER_NAME_MAX];
    char client[ADDRESS_MAX], peer[ADDRESS_MAX];
    unsigned port; /* of `peer` */
    raft_index joined;
    struct log_store log;
    struct kv_store kv;
    struct bytes dump, incoming; /* its files */
    bool disk_full, loses_chunks;
    unsigned disk_fails_in; /* store writes until one fails with ERR_IO; 0: none will */
    uint64_t disk_hangs;    /* the next log write takes that long; 0: as usual */
    uint64_t hangs_until;
    uint64_t clock_us, clock_ms;
    unsigned clock_rate; /* per mille */
    struct shared shared;
    struct sim_role roles[SIM_ROLES];
    uint64_t next_at;   /* the earliest run_at */
    uint32_t clients;   /* bits of clients whose request waits here */
    raft_index vouched; /* the core has called its disk's log durable up to here; what is deleted is not */
    /* what the checkers saw last */
    struct raft_status seen;
    struct counters counted;
};

/* ---- the network ------------------------------------------------------------------------------------------------------ */

/* One connection. It outlives the link while frames of it are under way. */
struct conn {
    unsigned refs;
    unsigned from, to;
    unsigned to_life;
    uint64_t last_arrival;
    bool closed;         /* the receiver reads no more from it */
    uint64_t broken_at;  /* when the sender can notice; SIM_NEVER: it is well */
    uint64_t refused_at; /* when a late refusal has reached the sender */
    struct refusal refusal;
    struct hello hello;
    struct conn *next;
};
struct packet {
    unsigned refs;
    struct conn *conn;
    enum frame_type type;
    uint8_t *data;
    size_t size, capacity;
    uint32_t held; /* how often a cut has held it back */
    uint32_t next;
};

/* ---- events ---------------------------------------------------------------------------------------------------------- */

enum sim_event_type {
    EVENT_WORK,    /* a role's work happens */
    EVENT_DONE,    /* and is reported */
    EVENT_PACKET,  /* a frame arrives */
    EVENT_LOST,    /* the link from the machine in `argument` is seen to be closed */
    EVENT_CLIENT,  /* a client's next step */
    EVENT_FAULT,   /* time for a fault */
    EVENT_START,   /* a machine starts */
    EVENT_LEAVE,   /* one that was removed stops for good */
    EVENT_RESUME,  /* a paused machine goes on */
    EVENT_MEND,    /* the fault of number `argument` ends */
    EVENT_OPERATOR /* a person changes the membership */
};
struct sim_event {
    uint64_t at, order;
    enum sim_event_type type;
    unsigned machine, life;
    uint32_t argument; /* role, packet, client or fault */
};

/* What happened, for people: the last of them are printed where a run fails. */
enum trace_type {
    TRACE_TAKE,
    TRACE_WORK,
    TRACE_DONE,
    TRACE_PACKET,
    TRACE_LOST,
    TRACE_START,
    TRACE_STOP,
    TRACE_PAUSE,
    TRACE_RESUME,
    TRACE_FAULT,
    TRACE_MEND,
    TRACE_CORE,
    TRACE_LOG_WRITE,
    TRACE_APPLY,
    TRACE_MAP_COMMIT,
    TRACE_DUMP,
    TRACE_INSTALL,
    TRACE_CHUNK,
    TRACE_CHUNK_TAKEN,
    TRACE_HASH,
    TRACE_VERDICT,
    TRACE_SPOIL,
    TRACE_INVOKE,
    TRACE_RETURN,
    TRACE_MEMBERS,
    TRACE_COMMIT,
    TRACE_HEAL
};
struct trace_record {
    uint64_t at;
    enum trace_type type;
    unsigned machine;
    uint64_t a, b, c, d;
};
#define TRACE_KEEP 200
#define TRACE_RING 256

/* ---- what the checkers know (check_safety.c) ------------------------------------------------------------------------------ */

struct fact { /* about one index of the committed log */
    raft_term term;
    raft_term by; /* the term of the leader that committed it */
    uint64_t chain;
    uint64_t map_hash; /* 0: nobody has applied it yet */
    uint64_t value;    /* of a SET; 0: another entry */
};
struct variant { /* an entry that was on some disk: (index, term) says all, by log matching */
    raft_index index;
    raft_term term;
    uint64_t chain;
    raft_index config_before; /* the newest configuration entry at or before it */
};
struct term_fact {
    unsigned leader;             /* slot + 1; 0: none seen */
    unsigned vote[SIM_MACHINES]; /* on disk: for the member with this id; 0: none */
};
struct key_fact {
    uint64_t count, capacity;
    struct map_slot *versions; /* by index; value 0: deleted */
    raft_index floor;          /* the newest version that a finished operation has seen or made */
};
struct checker {
    struct fact *facts; /* facts[i] of index i */
    uint64_t facts_capacity;
    raft_index committed, applied;
    struct variant *variants;
    uint64_t variants_count, variants_capacity; /* a power of two */
    struct term_fact *terms;
    uint64_t terms_capacity;
    struct key_fact keys[SIM_KEYS_MAX];
    uint64_t leaders; /* elections won */
};

/* ---- clients ----------------------------------------------------------------------------------------------------------- */

enum op_kind { OP_READ, OP_SET, OP_DELETE, OP_SET_IF };
enum op_outcome {
    OP_PENDING, /* begun, or its outcome is unknown for ever */
    OP_OK,
    OP_FAILED, /* a condition did not hold */
    OP_NEVER   /* surely never applied */
};
struct op {
    enum op_kind kind;
    enum op_outcome outcome;
    unsigned client, key;
    uint64_t value;          /* written or read; 0: none */
    uint64_t expected_value; /* OP_SET_IF: holds if the key has this value */
    raft_index expected;     /* and so this index */
    raft_index floor;        /* the checker's, when it began */
    raft_index index;        /* of the entry */
    uint64_t invoked, returned;
    bool existed; /* OK SET, DELETE: whether there was one */
};
#define CLIENT_BATCH 16
struct pending {
    struct request request;
    size_t op;
    bool active, ready; /* ready: a read that may look at the map now */
    bool told;          /* the member knew when it was asked that its map is not to be trusted */
};
enum client_state { CLIENT_IDLE, CLIENT_WAITS, CLIENT_READS };
struct client {
    unsigned number;
    enum client_state state;
    uint32_t token; /* of the step that is due; others are void */
    unsigned machine, life;
    unsigned count; /* of pending */
    struct pending pending[CLIENT_BATCH];
    uint64_t deadline;
    unsigned guess; /* the machine that it tries next */
    uint64_t successes;
    struct map_slot known[SIM_KEYS_MAX]; /* what it last saw of each key, for conditions */
};

struct mend { /* a fault that ends */
    enum sim_fault fault;
    unsigned a, b;
    uint64_t generation;
};

struct world {
    struct sim_config config;
    uint64_t rng, now, order;
    uint64_t steps;
    uint64_t installs; /* maps that were loaded */
    uint64_t spoiled;  /* maps that were spoiled */
    struct sim_event *heap;
    unsigned heap_count, heap_capacity;
    struct machine machines[SIM_MACHINES];
    unsigned machine_count;
    struct machine *current; /* whose role runs, for the fakes */
    uint64_t work_extra;     /* time that a fake adds to the work that is running */
    /* network */
    bool cut[SIM_MACHINES][SIM_MACHINES];
    uint64_t clog[SIM_MACHINES][SIM_MACHINES];
    struct packet *packets;
    uint32_t packet_count, packet_capacity, packet_free; /* free list: number + 1 */
    struct conn *conn_free;
    struct incoming *incoming;
    bool healed;
    bool healed_spoiled; /* when all else was healed, a map was not what it should be */
    unsigned quiet;      /* a key that is not written any more, plus one; 0: none */
    uint64_t healed_at, leaders_at_heal;
    uint64_t partition; /* generation */
    struct mend mends[256];
    unsigned mend_next;
    /* clients */
    struct client clients[SIM_CLIENTS_MAX];
    struct op *ops;
    size_t op_count, op_capacity;
    uint64_t next_value;
    struct request operator_request;
    struct {
        bool waits;
        unsigned machine, life, joiner; /* joiner: slot + 1 */
    } operator_;
    struct checker checker;
    /* trace */
    struct trace_record trace[TRACE_RING];
    uint64_t trace_count, trace_hash;
    bool verbose;
    struct bytes *story; /* NULL, or where the core's events are told */
    bool failed;
    const char *failed_check;
    char failure[400];
};

/* ---- the world (sim.c) ---- */
struct world *world_new(const struct sim_config *config); /* all first members are up; nothing has happened yet */
void world_free(struct world *w);
bool world_step(struct world *w); /* one event; false: nothing is left to do, or it failed */
void world_run(struct world *w);  /* chaos, healing, the last checks */
void world_run_for(struct world *w, uint64_t duration);
void world_heal(struct world *w);
/* Everything that must be true some time after healing; NULL, or what is not yet so. */
const char *world_unsettled(struct world *w);
struct world *sim_world(void); /* the one that runs now: for the fakes */

void sim_push(struct world *w, uint64_t delay, enum sim_event_type type, unsigned machine, unsigned life,
              uint32_t argument);

/* ---- machines (machine.c) ---- */
struct machine *machine_add(struct world *w); /* a new one with an empty disk, down; NULL: no more room */
void machine_describe(const struct machine *m, struct member *out);
void machine_start(struct machine *m);
void machine_stop(struct machine *m, unsigned lost_transactions); /* kill -9, or a power cut that undoes so many */
void machine_links_lost(struct machine *m);                       /* the others see its connections closed */
void machine_pause(struct machine *m, uint64_t duration);
void machine_clock(struct machine *m, unsigned rate);
raft_time machine_ms(const struct machine *m);
void machine_run_role(struct machine *m);
void machine_finish_role(struct machine *m, struct sim_role *r, enum sim_event_type what);
void machine_touched(struct machine *m); /* after anything that happened under its lock */
struct machine *machine_by_id(struct world *w, raft_id id);
struct machine *machine_leader(struct world *w); /* that of the highest term; NULL: none */

/* ---- the network (net.c) ---- */
bool net_open(const struct world *w, unsigned from, unsigned to);
void net_heal(struct world *w);
int net_connect(struct world *w, unsigned from, const struct address *to, const struct hello *h, int timeout_ms,
                struct conn **out, struct welcome *welcome, struct refusal *refusal);
void net_transmit(struct world *w, struct conn *c, enum frame_type type, const struct iovec *parts, int count);
void net_arrive(struct world *w, uint32_t packet, unsigned life);
void net_drop_packet(struct world *w, uint32_t packet);
void conn_unref(struct world *w, struct conn *c);

/* ---- faults (fault.c) ---- */
void config_draw(struct sim_config *c, uint64_t seed);
void config_print(const struct sim_config *c, struct bytes *out);
bool fault_spoil_for_good(
    struct world *w); /* a map, in a record that nobody will write again; false: not in this run */
const char *fault_name(enum sim_fault f);
bool fault_spoil_for_good(
    struct world *w); /* a map, in a record that nobody will write again; false: not in this run */
void fault_next(struct world *w);
void fault_mend(struct world *w, uint32_t number);
void fault_partition(struct world *w, uint32_t side); /* bit i: machine i is on the other side */
void operator_step(struct world *w);
void operator_look(struct world *w, struct machine *m);
/* Proposes this configuration at m; false if it does not lead or the core refuses. */
bool operator_propose(struct machine *m, const struct members *next, unsigned joiner);

/* ---- clients (client.c) ---- */
void client_step(struct world *w, uint32_t argument);  /* number and token */
void clients_look(struct world *w, struct machine *m); /* something happened at m */
void clients_stopped(struct world *w, struct machine *m);
void key_name(unsigned key, char *out, size_t size);
unsigned key_number(struct view key); /* SIM_KEYS_MAX: none of ours */

/* ---- checks: each calls sim_fail where something is wrong ---- */
void sim_fail(struct world *w, const char *check, const char *format, ...) __attribute__((format(printf, 3, 4)));
void checker_clear(struct checker *c);
uint64_t check_chain(struct world *w, struct raft_pos pos); /* of the committed log up to there */
void check_log_write(struct log_store *s, const struct log_write *write);
void check_apply(struct kv_store *s, struct entry *const *entries, unsigned count);
void check_applied(struct kv_store *s, const struct entry *e);
void check_installed(struct kv_store *s);
void check_message(struct machine *m, const struct raft_message *out);
void check_started(struct machine *m);
void check_machine(struct machine *m);
void check_leads(struct machine *m, const struct raft_status *now);
void check_commit(struct machine *m, const struct raft_status *old, const struct raft_status *now);
void check_read(struct world *w, struct op *op, raft_index applied, struct map_slot found);
void check_write(struct world *w, struct op *op, const struct command_result *result);
void check_end(struct world *w);
/* Whether some order explains these operations on one key, at most 64 of them (check_linear.c). */
bool linearizable(const struct op *const *ops, unsigned count);

/* ---- trace (trace.c) ---- */
void trace(struct world *w, enum trace_type type, const struct machine *m, uint64_t a, uint64_t b, uint64_t c,
           uint64_t d);
void trace_dump(const struct world *w, struct bytes *out); /* configuration and the last events */
void story_tell(struct world *w, const struct machine *m, const struct raft_event *e);

#endif
