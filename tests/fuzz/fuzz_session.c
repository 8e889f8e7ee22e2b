/* Service answers, frames, reads, ACKs and faults as one stream of events, given to the whole core by
 * tests/native/story.h. What must hold is checked after every step; the first broken promise ends the run. */
#include "story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096) return 0;
    uint64_t short_way = story_run(data, (uint32_t)size, 0);
    CHECK_EQ(story_run(data, (uint32_t)size, STORY_UNUSUAL), short_way);
    CHECK_EQ(story_run(data, (uint32_t)size, STORY_LENDS), short_way);
    (void)story_run(data, (uint32_t)size, STORY_LENDS | STORY_KEEPS);
    if (check_failed != 0) abort();
    return 0;
}
