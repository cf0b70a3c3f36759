/* mutants.h -- rules of the roles that a test build can break, as raft/mutants.h does it for the core.
 *
 * Only a build with SERVER_MUTANT defined holds any of this: it must define `int server_mutant` and set it to one of the
 * names below (0 breaks nothing). In every other build BROKEN(x) is the constant false and the compiler drops it. */
#ifndef SERVER_MUTANTS_H
#define SERVER_MUTANTS_H

/* X(name, what is broken): the list exists once; the enum and the texts are made of it. */
#define SERVER_MUTANTS(X)                                                                                              \
    X(ANSWER_ANY_TERM, "a write is answered although another leader's entry took its place")                           \
    X(READ_UNCOMMITTED, "a read is served before the map shows what it waits for")                                     \
    X(DIRECTORY_STAYS, "truncation does not take back the addresses of its configuration")                             \
    X(IGNORE_NO_SPACE, "a log write that found no room counts as done")                                                \
    X(IO_ERROR_COUNTS, "a log write that failed counts as done")                                                       \
    X(COMPACT_UNSYNCED, "the log's prefix goes before the map is synced")                                              \
    X(HALF_MAP, "a map is loaded before all of it came")                                                               \
    X(APPLY_ON, "after an error of the map, what it took back is not applied again")                                   \
    X(CHORE_UNASKED, "a chore's entry is proposed although its reason is gone")                                        \
    X(NEVER_COMPARES, "a leader compares nobody's hash with its own")                                                  \
    X(DOUBT_STAYS, "a member goes on doubting its map when a leader has sent another one")                             \
    X(DOUBT_READS, "a member goes on serving reads from a map that it knows to be wrong")

#define SERVER_MUTANT_NAME(name, text) SERVER_MUTANT_##name,
enum server_mutant_name { SERVER_MUTANT_NONE, SERVER_MUTANTS(SERVER_MUTANT_NAME) SERVER_MUTANT_END };
#undef SERVER_MUTANT_NAME

#ifdef SERVER_MUTANT
extern int server_mutant;
#define BROKEN(name) (server_mutant == SERVER_MUTANT_##name)
#else
#define BROKEN(name) false
#endif

#endif
