/* profile.h -- the ways in which a server speaks to its clients. A member's profile is chosen at its start; members of
 * one cluster may have different ones, for they share store and keyspace. */
#ifndef BASE_PROFILE_H
#define BASE_PROFILE_H

enum profile {
    PROFILE_RAFTD = 0, /* our own */
    PROFILE_RAFTEXAMPLE,
    PROFILE_SHAJ13,
    PROFILE_BALSA
};
#define PROFILES (PROFILE_BALSA + 1)

/* "raftd", "raftexample", "shaj13", "balsa". */
const char *profile_name(enum profile p);
/* The one of that name; PROFILES: there is none. */
enum profile profile_of_name(const char *name);

#endif
