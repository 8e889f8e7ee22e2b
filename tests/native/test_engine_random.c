/* Stories that a generator writes: frames, reads, ACKs, faults and answers in any order over every kind of stream.
 * Goal: whatever happens, the ledger adds up, nothing is done without an ACK, and every session is what
 * the service takes: one header, rising clusters, frames whole, in order and with their times; and the short way of a
 * plain frame through the core comes to the same as the long one, what is lent to what is copied. A failure names its
 * seed. */
#include "media_bytes.h"
#include "story.h"

#define STORIES 500u
#define STORY_SIZE 1500u

static void play(uint64_t seed)
{
    uint8_t bytes[STORY_SIZE];
    uint64_t state = seed;
    for (uint32_t i = 0; i < STORY_SIZE; i++) bytes[i] = (uint8_t)next_random(&state);
    uint64_t short_way = story_run(bytes, STORY_SIZE, 0);
    CHECK_EQ(story_run(bytes, STORY_SIZE, STORY_UNUSUAL), short_way);
    CHECK_EQ(story_run(bytes, STORY_SIZE, STORY_LENDS), short_way);
    (void)story_run(bytes, STORY_SIZE, STORY_LENDS | STORY_KEEPS);
    if (check_failed != 0) fprintf(stderr, "story %llu\n", (unsigned long long)seed);
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 1) play(strtoull(arguments[1], NULL, 10));
    for (uint64_t seed = 1; seed <= STORIES && check_failed == 0 && argument_count == 1; seed++) play(seed);
    printf("%llu stories, %llu steps: %llu frames put, %llu done, %llu sessions, %llu fragments repeated, %llu error "
           "ACKs, "
           "%llu failures\n",
           (unsigned long long)story_sums.stories, (unsigned long long)story_sums.steps,
           (unsigned long long)story_sums.put, (unsigned long long)story_sums.done,
           (unsigned long long)story_sums.sessions, (unsigned long long)story_sums.resent,
           (unsigned long long)story_sums.errors, (unsigned long long)story_sums.failed);
    for (uint32_t i = 0; i < KVS_DROP_COUNT; i++)
        printf("dropped for reason %u: %llu\n", i, (unsigned long long)story_sums.dropped[i]);
    return CHECK_DONE();
}
