#include "fake_service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

struct pair {
    uint8_t *key, *value;
    size_t key_size, value_size;
    uint64_t etag;
};

struct node {
    pthread_mutex_t lock;
    struct fake fake;
    struct pair *pairs; /* in order of their keys */
    size_t count, capacity;
    uint64_t index;
};

struct service_scan {
    struct node *node;
    size_t at;
    unsigned given;
    uint8_t prefix[SERVICE_KEY_MAX];
    size_t prefix_size;
    bool complete;
};

struct node *fake_new(void)
{
    struct node *n = xcalloc(1, sizeof *n);

    pthread_mutex_init(&n->lock, NULL);
    n->index = 100;
    return n;
}

void fake_free(struct node *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->pairs[i].key);
        free(n->pairs[i].value);
    }
    free(n->pairs);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

struct fake *fake_of(struct node *n)
{
    return &n->fake;
}

static struct view key_of(const struct pair *p)
{
    return view_of(p->key, p->key_size);
}

/* The place of the key, or where it would go. */
static size_t place_of(const struct node *n, struct view key)
{
    size_t low = 0, high = n->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (view_compare(key_of(&n->pairs[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pair *find(struct node *n, struct view key)
{
    size_t at = place_of(n, key);

    return at < n->count && view_equal(key_of(&n->pairs[at]), key) ? &n->pairs[at] : NULL;
}

static uint8_t *copy(struct view v)
{
    uint8_t *p = xmalloc(v.size + 1);

    if (v.size > 0)
        memcpy(p, v.data, v.size);
    return p;
}

static void put(struct node *n, struct view key, struct view value, uint64_t etag)
{
    size_t at = place_of(n, key);
    struct pair *p = find(n, key);

    if (p != NULL) {
        free(p->value);
    } else {
        if (n->count == n->capacity) {
            n->capacity = n->capacity == 0 ? 64 : 2 * n->capacity;
            n->pairs = xrealloc(n->pairs, n->capacity * sizeof *n->pairs);
        }
        p = &n->pairs[at];
        memmove(p + 1, p, (n->count - at) * sizeof *p);
        n->count++;
        p->key = copy(key);
        p->key_size = key.size;
    }
    p->value = copy(value);
    p->value_size = value.size;
    p->etag = etag;
}

static void take_away(struct node *n, struct pair *p)
{
    free(p->key);
    free(p->value);
    n->count--;
    memmove(p, p + 1, (n->count - (size_t)(p - n->pairs)) * sizeof *p);
}

void fake_set(struct node *n, struct view key, struct view value)
{
    put(n, key, value, ++n->index);
}

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    if (ms > 0)
        nanosleep(&t, NULL);
}

static void fill_stamp(const struct node *n, struct service_stamp *out)
{
    bool alone = n->fake.answer != SERVICE_NOT_LEADER;

    memset(out, 0, sizeof *out);
    snprintf(out->node, sizeof out->node, "one");
    if (!n->fake.no_leader) {
        snprintf(out->leader, sizeof out->leader, "%s", alone ? "one" : "two");
        snprintf(out->leader_client, sizeof out->leader_client, "%s", alone ? "localhost:4001" : "two.example:4002");
        snprintf(out->leader_peer, sizeof out->leader_peer, "%s", alone ? "localhost:14001" : "two.example:14002");
        out->leader_profile = n->fake.leader_profile;
    }
    out->term = 7;
    out->index = n->index;
}

void service_stamp(struct node *n, struct service_stamp *out)
{
    pthread_mutex_lock(&n->lock);
    fill_stamp(n, out);
    pthread_mutex_unlock(&n->lock);
}

/* Locks. Whether the switches let it through; else *r is the answer. */
static bool begin(struct node *n, struct service_result *r)
{
    pause_ms(n->fake.delay_ms);
    pthread_mutex_lock(&n->lock);
    memset(r, 0, sizeof *r);
    fill_stamp(n, &r->stamp);
    r->code = n->fake.answer;
    snprintf(r->text, sizeof r->text, "%s", n->fake.text);
    return r->code == SERVICE_OK;
}

static bool condition_holds(const struct service_write *w, const struct pair *p)
{
    switch (w->condition) {
    case SERVICE_ALWAYS:
        return true;
    case SERVICE_IF_EXISTS:
        return p != NULL;
    case SERVICE_IF_INDEX:
        return p != NULL && p->etag == w->expected;
    case SERVICE_IF_ABSENT:
        return p == NULL;
    case SERVICE_IF_NOT_INDEX:
        return p == NULL || p->etag != w->expected;
    }
    return false;
}

void service_write(struct node *n, const struct service_write *w, unsigned deadline_ms, struct service_result *r)
{
    struct pair *p;

    (void)deadline_ms;
    if (begin(n, r)) {
        p = find(n, w->key);
        r->etag = p != NULL ? p->etag : 0;
        r->created = p == NULL;
        n->fake.writes++;
        n->index++;
        if (!condition_holds(w, p)) {
            r->code = SERVICE_CONDITION_FAILED;
        } else if (w->op == SERVICE_SET) {
            put(n, w->key, w->value, n->index);
            r->etag = n->index;
        } else if (p == NULL) {
            r->code = SERVICE_NOT_FOUND;
        } else {
            take_away(n, p);
        }
        r->stamp.index = n->index;
    }
    pthread_mutex_unlock(&n->lock);
}

void service_get(struct node *n, struct view key, enum service_consistency c, unsigned deadline_ms, struct bytes *value,
                 struct service_result *r)
{
    (void)deadline_ms;
    bytes_reset(value);
    if (begin(n, r)) {
        struct pair *p = find(n, key);

        n->fake.consistency = c;
        r->code = p != NULL ? SERVICE_OK : SERVICE_NOT_FOUND;
        if (p != NULL) {
            bytes_append(value, p->value, p->value_size);
            r->etag = p->etag;
        }
    }
    pthread_mutex_unlock(&n->lock);
}

/* Where a walk begins. */
static size_t first_of(const struct node *n, struct view prefix, struct view after)
{
    size_t at = place_of(n, prefix), behind = place_of(n, after);

    if (after.size > 0 && behind < n->count && view_equal(key_of(&n->pairs[behind]), after))
        behind++;
    return behind > at ? behind : at;
}

void service_scan_open(struct node *n, struct view prefix, struct view after, enum service_consistency c,
                       unsigned deadline_ms, struct service_scan **out, struct service_result *r)
{
    struct service_scan *s;

    (void)deadline_ms;
    if (begin(n, r)) {
        n->fake.consistency = c;
        s = xcalloc(1, sizeof *s);
        s->node = n;
        if (prefix.size > 0)
            memcpy(s->prefix, prefix.data, prefix.size);
        s->prefix_size = prefix.size;
        s->at = first_of(n, prefix, after);
        *out = s;
    }
    pthread_mutex_unlock(&n->lock);
}

bool service_scan_next(struct service_scan *s, struct view *key, struct view *value, uint64_t *etag)
{
    struct node *n = s->node;
    const struct pair *p = s->at < n->count ? &n->pairs[s->at] : NULL;

    if (n->fake.scan_breaks != 0 && s->given == n->fake.scan_breaks)
        return false;
    if (p == NULL || !view_starts_with(key_of(p), view_of(s->prefix, s->prefix_size))) {
        s->complete = true;
        return false;
    }
    *key = key_of(p);
    *value = view_of(p->value, p->value_size);
    *etag = p->etag;
    s->at++;
    s->given++;
    return true;
}

void service_scan_close(struct service_scan *s, bool *complete)
{
    if (s == NULL)
        return;
    if (complete != NULL)
        *complete = s->complete;
    free(s);
}

/* ---- backups: the pairs, and in place of a dump a line for each ---- */

struct service_backup {
    struct node *node;
    struct service_backup_info info;
    size_t at;
    uint64_t given;
    bool failed;
};

void service_backup_open(struct node *n, enum service_consistency c, unsigned deadline_ms, struct service_backup **out,
                         struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r)) {
        struct service_backup *b = xcalloc(1, sizeof *b);

        n->fake.consistency = c;
        n->fake.backups_open++;
        b->node = n;
        b->info = (struct service_backup_info){
            .cluster = 123456789, .index = n->index, .term = 7, .size = FAKE_DUMP_LINE * n->count};
        *out = b;
    }
    pthread_mutex_unlock(&n->lock);
}

const struct service_backup_info *service_backup_info(const struct service_backup *b)
{
    return &b->info;
}

static bool breaks(struct service_backup *b)
{
    b->failed = b->failed || (b->node->fake.scan_breaks != 0 && b->at >= b->node->fake.scan_breaks);
    return b->failed;
}

bool service_backup_read(struct service_backup *b, size_t size, struct bytes *out)
{
    size_t before = out->size;

    while (b->given < b->info.size && out->size - before + FAKE_DUMP_LINE <= size && !breaks(b)) {
        bytes_printf(out, "%-*s\n", FAKE_DUMP_LINE - 1, "a pair");
        b->given += FAKE_DUMP_LINE;
        b->at++;
    }
    return out->size > before;
}

bool service_backup_next(struct service_backup *b, struct view *key, struct view *value, uint64_t *etag)
{
    const struct pair *p = b->at < b->node->count ? &b->node->pairs[b->at] : NULL;

    if (p == NULL || breaks(b))
        return false;
    *key = key_of(p);
    *value = view_of(p->value, p->value_size);
    *etag = p->etag;
    b->at++;
    return true;
}

bool service_backup_failed(const struct service_backup *b)
{
    return b->failed;
}

void service_backup_close(struct service_backup *b)
{
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->node->lock);
    b->node->fake.backups_open--;
    pthread_mutex_unlock(&b->node->lock);
    free(b);
}

/* ---- restores: bytes count for whatever they are, "bad" is no good; pairs replace all ---- */

struct service_upload {
    struct node *node;
    struct node *fresh; /* what the pairs go into */
    uint64_t size;
};

uint64_t service_upload_limit(struct node *n)
{
    (void)n;
    return FAKE_UPLOAD_LIMIT;
}

void service_upload_open(struct node *n, struct service_upload **out, struct service_result *r)
{
    if (begin(n, r)) {
        struct service_upload *u = xcalloc(1, sizeof *u);

        n->fake.uploads_open++;
        u->node = n;
        u->fresh = fake_new();
        *out = u;
    }
    pthread_mutex_unlock(&n->lock);
}

bool service_upload_bytes(struct service_upload *u, struct view bytes, struct service_result *r)
{
    u->size += bytes.size;
    if (!view_starts_with(bytes, view_of_text("bad")))
        return true;
    r->code = SERVICE_INVALID;
    snprintf(r->text, sizeof r->text, "the backup is no good");
    return false;
}

bool service_upload_pair(struct service_upload *u, struct view key, struct view value, struct service_result *r)
{
    (void)r;
    fake_set(u->fresh, key, value);
    return true;
}

void service_upload_restore(struct service_upload *u, unsigned deadline_ms, uint64_t *keys, struct service_result *r)
{
    struct node *n = u->node;

    (void)deadline_ms;
    if (begin(n, r)) {
        n->fake.uploaded = u->size;
        while (n->count > 0)
            take_away(n, &n->pairs[n->count - 1]);
        for (size_t i = 0; i < u->fresh->count; i++) {
            const struct pair *p = &u->fresh->pairs[i];

            put(n, key_of(p), view_of(p->value, p->value_size), n->index + 1);
        }
        *keys = n->count;
        r->stamp.index = ++n->index;
    }
    pthread_mutex_unlock(&n->lock);
}

void service_upload_close(struct service_upload *u)
{
    if (u == NULL)
        return;
    pthread_mutex_lock(&u->node->lock);
    u->node->fake.uploads_open--;
    pthread_mutex_unlock(&u->node->lock);
    fake_free(u->fresh);
    free(u);
}

void service_cluster(struct node *n, struct service_cluster *out)
{
    static const char *const names[] = {"one", "two", "a \"learner\""};

    memset(out, 0, sizeof *out);
    out->id = 123456789;
    out->term = 7;
    out->config_index = 3;
    out->commit = 100;
    out->leader = n->fake.no_leader ? 0 : 1;
    out->count = 3;
    for (unsigned i = 0; i < 3; i++) {
        struct service_member *m = &out->members[i];

        m->id = i + 1;
        snprintf(m->name, sizeof m->name, "%s", names[i]);
        m->role = i == 0 ? "leader" : i == 1 ? "follower" : "learner";
        m->voter = i < 2;
        snprintf(m->client, sizeof m->client, "localhost:%u", 4001 + i);
        snprintf(m->peer, sizeof m->peer, "localhost:%u", 14001 + i);
        m->tracked = i < 2;
        m->match = 90 + i;
        m->lag = 10 - i;
        m->last_contact_ms = i == 0 ? -1 : 12;
        m->active = true;
    }
    out->gone_count = 1;
    out->gone[0] = (struct service_gone){.id = 9, .peer = "localhost:14009", .removed_ns = 1700000000000000042};
}

static void note(struct fake_call *call, const struct service_member_change *c, const char *name)
{
    call->count++;
    if (c != NULL)
        call->change = *c;
    if (name != NULL)
        snprintf(call->name, sizeof call->name, "%s", name);
}

static void foresee(const struct service_member_change *c, struct service_result *r)
{
    if (!c->dry_run || r->code != SERVICE_OK)
        return;
    r->outlook = (struct service_outlook){.changes = true, .voters = 2, .learners = 1, .reachable = 2, .quorum = 2};
    snprintf(r->text, sizeof r->text, "after this: 2 voters and 1 learner, can lose 0");
}

void service_member_add(struct node *n, const struct service_member_change *c, unsigned deadline_ms,
                        struct service_membership *out, struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r)) {
        note(&n->fake.added, c, NULL);
        *out = (struct service_membership){.cluster = 123456789, .id = c->id != 0 ? c->id : 4, .index = ++n->index};
        snprintf(out->name, sizeof out->name, "%s", c->name[0] != '\0' ? c->name : "four");
        r->created = !n->fake.known_member;
    }
    foresee(c, r);
    pthread_mutex_unlock(&n->lock);
}

void service_member_expect(struct node *n, const char *name, const char *peer, unsigned deadline_ms,
                           struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r)) {
        note(&n->fake.expected, NULL, name);
        snprintf(n->fake.expected.change.peer, sizeof n->fake.expected.change.peer, "%s", peer);
    }
    pthread_mutex_unlock(&n->lock);
}

void service_member_update(struct node *n, const char *name_or_id, const struct service_member_change *c,
                           unsigned deadline_ms, struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r))
        note(&n->fake.updated, c, name_or_id);
    foresee(c, r);
    pthread_mutex_unlock(&n->lock);
}

void service_member_remove(struct node *n, const char *name_or_id, const struct service_member_change *how,
                           unsigned deadline_ms, struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r))
        note(&n->fake.removed, how, name_or_id);
    foresee(how, r);
    pthread_mutex_unlock(&n->lock);
}

void service_transfer(struct node *n, const char *name_or_id, unsigned deadline_ms, struct service_result *r)
{
    (void)deadline_ms;
    if (begin(n, r))
        note(&n->fake.transferred, NULL, name_or_id);
    pthread_mutex_unlock(&n->lock);
}

void service_invited(struct node *n, const struct service_invitation *i, struct service_membership *self,
                     struct service_result *r)
{
    if (begin(n, r)) {
        note(&n->fake.invited, NULL, NULL);
        n->fake.invitation = *i;
        *self = (struct service_membership){.cluster = i->cluster, .id = 9};
        snprintf(self->name, sizeof self->name, "nine");
    }
    pthread_mutex_unlock(&n->lock);
}

void service_status(struct node *n, struct service_status *out)
{
    *out = (struct service_status){
        .version = "0.1.0",
        .role = "leader",
        .cluster = 123456789,
        .id = 1,
        .leader = n->fake.no_leader ? 0 : 1,
        .term = 7,
        .commit = 100,
        .applied = 100,
        .durable = 100,
        .log_first = 1,
        .log_last = 100,
        .keys = n->count,
        .uptime_ms = 1234,
    };
}

bool service_ready(struct node *n, char *why, unsigned size)
{
    if (n->fake.not_ready)
        snprintf(why, size, "no leader is known");
    return !n->fake.not_ready;
}
