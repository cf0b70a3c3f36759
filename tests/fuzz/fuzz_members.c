/* The decoder of configurations. */
#include <string.h>

#include "base/check.h"
#include "fuzz.h"
#include "wire/members.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct members m, same;
    struct raft_config config;
    struct bytes again;

    if (members_decode(view_of(data, size), &m) != 0)
        return 0;
    CHECK(m.count <= RAFT_MEMBERS_MAX);
    for (unsigned i = 0; i < m.count; i++) {
        CHECK(members_by_id(&m, m.list[i].id) == &m.list[i]);
        CHECK(members_by_name(&m, m.list[i].name) == &m.list[i]);
    }
    members_config(&m, &config);
    CHECK(config.count == m.count);
    bytes_init(&again, MEMBERS_SIZE_MAX);
    members_encode(&m, &again);
    CHECK(again.size == size || m.gone_count > 0); /* an older form says less of the gone */
    CHECK(again.size != size || view_equal(bytes_view(&again), view_of(data, size)));
    CHECK(members_decode(bytes_view(&again), &same) == 0 && same.gone_count == m.gone_count);
    bytes_clear(&again);
    return 0;
}
