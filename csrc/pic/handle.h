/* handle.h — handles: one table for the process, with generations.
 *
 * A handle is kind (4 bits), 0 (20), generation (19), index (21). An object has one handle, always the same number:
 * programs compare it and use it as a key. Looking up takes no lock. A slot counts references; closing it makes the
 * handle invalid for all threads and hands its last reference, the handle's own, to the closer.
 * What every call of a program does stands here, to be compiled into the call. */
#ifndef KVS_PIC_HANDLE_H
#define KVS_PIC_HANDLE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PIC_SLOT_SIZE 64u
#define PIC_SEGMENT_SLOTS 1024u
#define PIC_SEGMENTS_MAX 2048u
#define PIC_INDEX_MASK 0x1FFFFFu
#define PIC_NAME_MASK (~(uint64_t)PIC_INDEX_MASK) /* of a handle: all but the index */
#define PIC_CLOSED (UINT64_C(1) << 20) /* below it the references: as many as streams of a client, and threads */

enum pic_kind { PIC_KIND_NONE = 0, PIC_KIND_CLIENT = 5, PIC_KIND_STREAM = 6 };

/* Threads change the words of different slots: none shares a line of the cache with another. */
struct pic_slot {
    _Atomic uint64_t word;          /* the handle's kind and generation in their places | PIC_CLOSED | references */
    void *object;
    uint32_t index, next_free;
    uint8_t apart[PIC_SLOT_SIZE - 2 * sizeof(uint64_t) - 2 * sizeof(uint32_t)];
};

/* A slot for the object, open, with one reference. NULL: no memory, or as many objects as there can be. */
struct pic_slot *pic_slot_new(uint32_t kind, void *object, uint64_t *handle_out);
/* The slot is used again with another generation; no references are left. */
void pic_slot_free(struct pic_slot *slot);

extern struct pic_slot *_Atomic pic_segments[PIC_SEGMENTS_MAX]; /* handle.c changes it */

static inline uint32_t pic_handle_kind(uint64_t handle) { return (uint32_t)(handle >> 60); }

/* NULL: there is no such place. Whether the slot is the handle's, its word says. */
static inline struct pic_slot *pic_slot_of(uint64_t handle)
{
    uint32_t index = (uint32_t)handle & PIC_INDEX_MASK;
    struct pic_slot *segment = atomic_load_explicit(&pic_segments[index / PIC_SEGMENT_SLOTS], memory_order_acquire);
    return segment == NULL ? NULL : &segment[index % PIC_SEGMENT_SLOTS];
}

/* Adds to the word of an open slot of this handle; the object, or NULL. */
static inline void *pic_slot_change(uint64_t handle, uint32_t kind, uint64_t add)
{
    struct pic_slot *slot = pic_slot_of(handle);
    if (slot == NULL || pic_handle_kind(handle) != kind) return NULL;
    uint64_t word = atomic_load(&slot->word);
    do {
        if ((word & (PIC_NAME_MASK | PIC_CLOSED)) != (handle & PIC_NAME_MASK)) return NULL;
    } while (!atomic_compare_exchange_weak(&slot->word, &word, word + add));
    return slot->object;
}

/* The object with one reference more, or NULL: not of this kind, never given, freed, being freed. */
static inline void *pic_acquire(uint64_t handle, uint32_t kind) { return pic_slot_change(handle, kind, 1); }
/* Closes the handle: the object, with the handle's own reference, or NULL. Of many threads one succeeds. */
static inline void *pic_close(uint64_t handle, uint32_t kind) { return pic_slot_change(handle, kind, PIC_CLOSED); }
/* It was a handle of this kind once. */
int pic_was_valid(uint64_t handle, uint32_t kind);

void pic_slot_hold(struct pic_slot *slot);          /* the caller has a reference already, or the owner's lock */
uint32_t pic_slot_drop(struct pic_slot *slot);      /* how many are left */
uint32_t pic_slot_references(const struct pic_slot *slot);

/* 0: it is closed, so pic_slot_drop it under the owner's lock. */
static inline int pic_slot_try_release(struct pic_slot *slot)
{
    uint64_t word = atomic_load(&slot->word);
    do {
        if (word & PIC_CLOSED) return 0;
    } while (!atomic_compare_exchange_weak(&slot->word, &word, word - 1));
    return 1;
}

static inline int pic_slot_is_closed(const struct pic_slot *slot)
{
    return (atomic_load((_Atomic uint64_t *)&slot->word) & PIC_CLOSED) != 0;
}

#endif
