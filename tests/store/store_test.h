/* store_test.h -- what the tests of the stores share: directories that vanish, entries, commands. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "raft/raft.h"
#include "store/kv_store.h"
#include "store/log_store.h"
#include "wire/command.h"
#include "wire/entry.h"
#include "wire/members.h"

/* A new directory under $TMPDIR (or /tmp), removed with all that is in it by temp_remove. */
const char *temp_make(void);
void temp_remove(const char *path);
const char *temp_path(const char *name); /* in the directory of temp_make; a static buffer, eight in turn */
bool path_exists(const char *path);

struct entry *noop_at(raft_index index, raft_term term);
struct entry *set_at(raft_index index, raft_term term, const char *key, const void *value, size_t size);
struct entry *command_at(raft_index index, raft_term term, const struct command *c);
struct entry *config_at(raft_index index, raft_term term, unsigned members); /* n1 .. nN, voters, ids 1 .. N */
void unref_all(struct entry **entries, unsigned count);
/* kv_store_apply, and if it succeeds kv_store_commit. */
int apply_and_commit(struct kv_store *s, struct entry *const *entries, unsigned count, struct command_result *results);

/* Chance that can be repeated: one sequence per seed. */
void random_seed(uint32_t seed);
uint32_t random_below(uint32_t n);

/* A suite of one case; the exit status of main. */
typedef void (*add_tests)(TCase *);
int run_tests(const char *name, void (*setup)(void), void (*teardown)(void), add_tests add);

#endif
