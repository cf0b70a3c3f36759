/* spoil_map -- a stopped member's files as a failing disk leaves them.
 *
 *     spoil_map bit MAP KEY BIT       inverts one bit of what the map stores for KEY
 *     spoil_map value MAP KEY VALUE   another value, whose hash is right: what a fault of raftd's own would leave
 *     spoil_map sum MAP               the map says that it has another hash
 *     spoil_map flip FILE ONE_IN SEED inverts bits of the file at random, and says how many */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/spoil.h"

static int said(int rc)
{
    if (rc != 0)
        fprintf(stderr, "spoil_map: error %d\n", rc);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    long flipped = 0;

    if (argc == 5 && strcmp(argv[1], "bit") == 0)
        return said(spoil_record(argv[2], argv[3], strtoul(argv[4], NULL, 10)));
    if (argc == 5 && strcmp(argv[1], "value") == 0)
        return said(spoil_value(argv[2], argv[3], argv[4], strlen(argv[4])));
    if (argc == 3 && strcmp(argv[1], "sum") == 0)
        return said(spoil_sum(argv[2], 1));
    if (argc != 5 || strcmp(argv[1], "flip") != 0) {
        fprintf(stderr, "usage: spoil_map bit MAP KEY BIT | value MAP KEY VALUE | sum MAP | flip FILE ONE_IN SEED\n");
        return 64;
    }
    flipped = spoil_file(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    if (flipped >= 0)
        printf("%ld\n", flipped);
    return flipped >= 0 ? 0 : 1;
}
