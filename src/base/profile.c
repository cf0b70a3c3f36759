#include "base/profile.h"

#include <string.h>

const char *profile_name(enum profile p)
{
    switch (p) {
    case PROFILE_RAFTD:
        return "raftd";
    case PROFILE_RAFTEXAMPLE:
        return "raftexample";
    case PROFILE_SHAJ13:
        return "shaj13";
    case PROFILE_BALSA:
        return "balsa";
    }
    return "?";
}

enum profile profile_of_name(const char *name)
{
    unsigned p = 0;

    while (p < PROFILES && strcmp(name, profile_name((enum profile)p)) != 0)
        p++;
    return (enum profile)p;
}
