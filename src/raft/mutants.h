/* mutants.h -- rules that a test build can break, one at a time, to prove that the simulator notices.
 *
 * Only a build with RAFT_MUTANT defined holds any of this: it must define `int raft_mutant` and set it to one of the
 * names below (0 breaks nothing). In every other build MUTANT(x) is the constant false and the compiler drops it. */
#ifndef RAFT_MUTANTS_H
#define RAFT_MUTANTS_H

/* X(name, what is broken): the list exists once; the enum and the texts are made of it. */
#define RAFT_MUTANTS(X)                                                                                                \
    X(SPEAK_BEFORE_SAVED, "messages leave before term and vote are durable (D1)")                                      \
    X(VOTE_TWICE, "a second candidate gets a vote in the same term")                                                   \
    X(VOTE_WITHOUT_LOG, "a vote does not look at the candidate's log")                                                 \
    X(COUNT_VOTE_TWICE, "a repeated grant counts as another vote")                                                     \
    X(KEEP_TERM, "a higher term in an answer is ignored, the leader goes on")                                          \
    X(COMMIT_OLD_TERM, "entries of earlier terms are committed by counting")                                           \
    X(COMMIT_ALONE, "a leader commits what is durable on itself alone")                                                \
    X(ACK_LAST, "a follower acknowledges entries that are not durable (D2)")                                           \
    X(MATCH_LAST, "a leader counts its own entries before they are durable (D2)")                                      \
    X(TRUNCATE_MATCHING, "an old append cuts off entries that match")                                                  \
    X(SKIP_PREVIOUS, "an append is taken without a look at the entry before it")                                       \
    X(COMMIT_BEYOND, "a follower commits beyond the entries that it compared")                                         \
    X(NEXT_BACK, "a stale refusal moves next back below match")                                                        \
    X(LATE_WRITE_VOUCHES, "a late write makes durable what took the place of its entries (D4)")                        \
    X(APPLY_BEYOND_DURABLE, "entries are applied before they are durable (D3)")                                        \
    X(READ_WITHOUT_ROUND, "a leader serves reads without asking a quorum")                                             \
    X(READ_BEFORE_COMMIT, "a leader serves reads before it committed an entry of its term")                            \
    X(READ_OLD_ANSWER, "a follower takes the answer to an earlier read for the one it waits for")                      \
    X(CONFIG_LATE, "a configuration is in force only when committed")                                                  \
    X(CONFIG_STAYS, "truncation does not take an uncommitted configuration back")                                      \
    X(TWO_CHANGES, "a second change is proposed while the first is uncommitted")                                       \
    X(CHANGE_TOO_EARLY, "a change is proposed before an entry of the term is committed")                               \
    X(INSTALL_KEEPS_LOG, "an installed map leaves entries in place that contradict it")                                \
    X(INSTALL_KEEPS_DISK, "after an installed map the disk's log does not begin anew")                                 \
    X(LEARNER_COUNTS, "a learner counts in quorums")

#define RAFT_MUTANT_NAME(name, text) RAFT_MUTANT_##name,
enum raft_mutant_name { RAFT_MUTANT_NONE, RAFT_MUTANTS(RAFT_MUTANT_NAME) RAFT_MUTANT_END };
#undef RAFT_MUTANT_NAME

#ifdef RAFT_MUTANT
extern int raft_mutant;
#define MUTANT(name) (raft_mutant == RAFT_MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
