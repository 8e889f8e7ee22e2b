/* handle.c — the table of handles, see handle.h. It grows by segments that are never given back, so a look-up of any
 * number reads memory that stays; the counters of a slot live in one word, changed by compare-and-swap. */
#include "pic/handle.h"

#include <stdlib.h>

#include "pic/sync.h"

#define INDEX_BITS 21u
#define GENERATION_MASK 0x7FFFFu
#define NO_SLOT UINT32_MAX

struct pic_slot *_Atomic pic_segments[PIC_SEGMENTS_MAX];
static uint32_t slot_count, first_free = NO_SLOT, last_free = NO_SLOT; /* under the global lock */

static uint32_t generation_of(uint64_t handle) { return (uint32_t)(handle >> INDEX_BITS) & GENERATION_MASK; }
static uint64_t name_of(uint32_t kind, uint32_t generation)
{
    return (uint64_t)kind << 60 | (uint64_t)generation << INDEX_BITS;
}

static struct pic_slot *slot_at(uint32_t index) { return pic_slot_of(index); }

static int grow(void)
{
    if (slot_count / PIC_SEGMENT_SLOTS >= PIC_SEGMENTS_MAX) return 0;
    struct pic_slot *segment = calloc(PIC_SEGMENT_SLOTS, sizeof *segment);
    if (segment == NULL) return 0;
    for (uint32_t i = 0; i < PIC_SEGMENT_SLOTS; i++) {
        segment[i].index = slot_count + i;
        segment[i].next_free = i + 1 < PIC_SEGMENT_SLOTS ? slot_count + i + 1 : NO_SLOT;
        atomic_init(&segment[i].word, name_of(PIC_KIND_NONE, 1));
    }
    atomic_store_explicit(&pic_segments[slot_count / PIC_SEGMENT_SLOTS], segment, memory_order_release);
    first_free = slot_count;
    last_free = slot_count + PIC_SEGMENT_SLOTS - 1;
    slot_count += PIC_SEGMENT_SLOTS;
    return 1;
}

struct pic_slot *pic_slot_new(uint32_t kind, void *object, uint64_t *handle_out)
{
    struct pic_slot *slot = NULL;
    pic_global_lock();
    if (first_free != NO_SLOT || grow()) {
        slot = slot_at(first_free);
        first_free = slot->next_free;
        if (first_free == NO_SLOT) last_free = NO_SLOT;
    }
    pic_global_unlock();
    if (slot == NULL) return NULL;
    uint64_t name = name_of(kind, generation_of(atomic_load(&slot->word)));
    slot->object = object;
    *handle_out = name | slot->index;
    atomic_store(&slot->word, name | 1u);
    return slot;
}

/* Used last after all others that are free, so that a generation comes around as late as can be. */
void pic_slot_free(struct pic_slot *slot)
{
    uint32_t generation = (generation_of(atomic_load(&slot->word)) + 1u) & GENERATION_MASK;
    pic_global_lock();
    atomic_store(&slot->word, name_of(PIC_KIND_NONE, generation != 0 ? generation : 1u));
    slot->next_free = NO_SLOT;
    if (last_free == NO_SLOT) first_free = slot->index;
    else slot_at(last_free)->next_free = slot->index;
    last_free = slot->index;
    pic_global_unlock();
}

int pic_was_valid(uint64_t handle, uint32_t kind)
{
    struct pic_slot *slot = pic_slot_of(handle);
    if (slot == NULL || pic_handle_kind(handle) != kind) return 0;
    if (handle != (name_of(kind, generation_of(handle)) | slot->index)) return 0;
    uint64_t word = atomic_load(&slot->word);
    uint32_t generation = generation_of(word);
    if (generation_of(handle) == generation) return (word & PIC_CLOSED) != 0;
    return generation_of(handle) != 0 && generation_of(handle) < generation;
}

void pic_slot_hold(struct pic_slot *slot) { atomic_fetch_add(&slot->word, 1); }

uint32_t pic_slot_drop(struct pic_slot *slot)
{
    return (uint32_t)(atomic_fetch_sub(&slot->word, 1) & (PIC_CLOSED - 1u)) - 1u;
}

uint32_t pic_slot_references(const struct pic_slot *slot)
{
    return (uint32_t)(atomic_load((_Atomic uint64_t *)&slot->word) & (PIC_CLOSED - 1u));
}
