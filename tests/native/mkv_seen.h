/* mkv_seen.h — what a service sees in the bytes of one PutMedia session: header, clusters, blocks, tags. A tiny reader
 * of its own (RFC 9559), which shares nothing with the packager: a shared mistake would agree with itself.
 *   Use   struct mkv_seen seen; mkv_read(&seen, bytes, size); ... mkv_forget(&seen);
 * Master elements are walked flat, because the service's documents have segments and clusters of unknown size. An
 * element that the bytes cut off ends the reading; `is_broken` says that something was no EBML at all. */
#ifndef KVS_TESTS_MKV_SEEN_H
#define KVS_TESTS_MKV_SEEN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_NUMBER_SIZE 4u
#define SEEN_TEXT 300u

struct seen_block {
    uint32_t track, size, number; /* number: as put by frame_fill */
    int32_t tc;                   /* relative to the cluster */
    uint8_t flags, is_intact;
};

struct seen_cluster {
    uint64_t tc;
    uint32_t first_block, block_count;
    uint32_t first_tag, tag_count; /* that precede it */
    uint8_t has_end, has_tc;       /* an end-of-fragment tag follows it; its time is whole */
};

struct seen_tag {
    char name[SEEN_TEXT], value[SEEN_TEXT];
};

struct mkv_seen {
    struct seen_block *blocks;
    struct seen_cluster *clusters;
    struct seen_tag *tags;
    uint32_t block_count, cluster_count, tag_count;
    uint32_t header_count, track_count, cpd_size, cpd_sum, header_size;
    uint32_t end_count;          /* end-of-fragment tags */
    uint32_t tags_given;         /* to clusters already */
    uint8_t is_broken, is_whole; /* whole: the last element was complete */
};

/* The payload of test frame `number`: the number, then bytes that depend on it. */
static inline void frame_fill(uint8_t *bytes, uint32_t size, uint32_t number)
{
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i < FRAME_NUMBER_SIZE ? number >> (24 - 8 * i) : number * 31u + i * 7u);
    }
}

static inline int frame_is_intact(const uint8_t *bytes, uint32_t size)
{
    uint32_t number = 0;
    if (size < FRAME_NUMBER_SIZE) return 1;
    for (uint32_t i = 0; i < FRAME_NUMBER_SIZE; i++) number = number << 8 | bytes[i];
    for (uint32_t i = FRAME_NUMBER_SIZE; i < size; i++) {
        if (bytes[i] != (uint8_t)(number * 31u + i * 7u)) return 0;
    }
    return 1;
}

static inline void *seen_room(void *items, uint32_t count, size_t size)
{
    if (count != 0 && (count & (count - 1)) != 0) return items; /* grows at powers of two */
    void *grown = realloc(items, (count == 0 ? 1u : 2u * (size_t)count) * size);
    if (grown == NULL) abort();
    return grown;
}

static inline uint64_t seen_number(const uint8_t *bytes, uint64_t size)
{
    uint64_t value = 0;
    for (uint64_t i = 0; i < size; i++) value = value << 8 | bytes[i];
    return value;
}

static inline void seen_block_of(struct mkv_seen *seen, const uint8_t *bytes, uint64_t size)
{
    if (seen->cluster_count == 0 || size < 4 || bytes[0] < 0x81) {
        seen->is_broken = 1;
        return;
    }
    seen->blocks = seen_room(seen->blocks, seen->block_count, sizeof *seen->blocks);
    struct seen_block *block = &seen->blocks[seen->block_count++];
    block->track = bytes[0] & 0x7fu;
    block->tc = (int16_t)(uint16_t)seen_number(bytes + 1, 2);
    block->flags = bytes[3];
    block->size = (uint32_t)(size - 4);
    block->number = block->size >= FRAME_NUMBER_SIZE ? (uint32_t)seen_number(bytes + 4, FRAME_NUMBER_SIZE) : 0;
    block->is_intact = (uint8_t)frame_is_intact(bytes + 4, block->size);
    struct seen_cluster *cluster = &seen->clusters[seen->cluster_count - 1];
    if (cluster->has_end || seen->tag_count != seen->tags_given)
        seen->is_broken = 1; /* a Tags element ends a Cluster */
    cluster->block_count++;
}

static inline void seen_cluster_of(struct mkv_seen *seen)
{
    seen->clusters = seen_room(seen->clusters, seen->cluster_count, sizeof *seen->clusters);
    struct seen_cluster *cluster = &seen->clusters[seen->cluster_count++];
    memset(cluster, 0, sizeof *cluster);
    cluster->first_block = seen->block_count;
    cluster->first_tag = seen->tags_given;
    cluster->tag_count = seen->tag_count - seen->tags_given;
    seen->tags_given = seen->tag_count;
}

static inline void seen_text(char *text, const uint8_t *bytes, uint64_t size)
{
    if (size >= SEEN_TEXT) size = SEEN_TEXT - 1;
    if (size > 0) memcpy(text, bytes, (size_t)size);
    text[size] = 0;
}

static inline void seen_tag_of(struct mkv_seen *seen, uint32_t id, const uint8_t *bytes, uint64_t size)
{
    if (id == 0x45A3) {
        seen->tags = seen_room(seen->tags, seen->tag_count, sizeof *seen->tags);
        seen_text(seen->tags[seen->tag_count].name, bytes, size);
        seen->tags[seen->tag_count++].value[0] = 0;
        return;
    }
    struct seen_tag *tag = &seen->tags[seen->tag_count - 1];
    seen_text(tag->value, bytes, size);
    if (strcmp(tag->name, "AWS_KINESISVIDEO_END_OF_FRAGMENT") != 0) return;
    seen->tag_count--; /* it belongs to the cluster before it */
    seen->end_count++;
    if (seen->cluster_count != 0) seen->clusters[seen->cluster_count - 1].has_end = 1;
}

/* 1: a master whose content is walked. */
static inline int seen_element(struct mkv_seen *seen, uint32_t id, const uint8_t *bytes, uint64_t size)
{
    switch (id) {
    case 0x1F43B675: seen_cluster_of(seen); return 1;
    case 0x1A45DFA3: seen->header_count++; return 0;
    case 0xAE: seen->track_count++; return 1;
    case 0x18538067:
    case 0x1654AE6B:
    case 0x1254C367:
    case 0x7373:
    case 0x67C8: return 1;
    case 0xE7:
        seen->clusters[seen->cluster_count - 1].tc = seen_number(bytes, size);
        seen->clusters[seen->cluster_count - 1].has_tc = 1;
        return 0;
    case 0xA3: seen_block_of(seen, bytes, size); return 0;
    case 0x63A2:
        seen->cpd_size = (uint32_t)size;
        for (uint64_t i = 0; i < size; i++) seen->cpd_sum = seen->cpd_sum * 31u + bytes[i];
        return 0;
    case 0x45A3:
    case 0x4487: seen_tag_of(seen, id, bytes, size); return 0;
    default: return 0;
    }
}

static inline uint32_t seen_length(uint8_t first)
{
    uint32_t length = 1;
    while (length <= 8 && !(first & (0x100u >> length))) length++;
    return length;
}

/* One element head at `at`; its size, or UINT64_MAX when unknown. 0: cut off or no EBML. */
static inline uint32_t seen_head(struct mkv_seen *seen, const uint8_t *bytes, uint32_t left, uint32_t *id,
                                 uint64_t *size)
{
    uint32_t id_size = left == 0 ? 0 : seen_length(bytes[0]);
    if (id_size > 4) seen->is_broken = 1;
    if (id_size == 0 || id_size > 4 || left <= id_size) return 0;
    uint32_t size_size = seen_length(bytes[id_size]);
    if (size_size > 8) seen->is_broken = 1;
    if (size_size > 8 || left < id_size + size_size) return 0;
    *id = (uint32_t)seen_number(bytes, id_size);
    uint64_t mask = (UINT64_C(1) << (7 * size_size)) - 1;
    *size = seen_number(bytes + id_size, size_size) & mask;
    if (*size == mask) *size = UINT64_MAX;
    return id_size + size_size;
}

static inline void mkv_walk(struct mkv_seen *seen, const uint8_t *bytes, uint32_t size)
{
    uint32_t at = 0, id = 0;
    uint64_t element = 0;
    while (at < size && !seen->is_broken) {
        uint32_t head = seen_head(seen, bytes + at, size - at, &id, &element);
        int is_master = id == 0x18538067 || id == 0x1F43B675 || id == 0x1654AE6B || id == 0x1254C367 || id == 0x7373 ||
                        id == 0x67C8 || id == 0xAE;
        if (head == 0 || (!is_master && element > size - at - head)) return;
        if (seen->cluster_count == 0 && id == 0x1F43B675) seen->header_size = at;
        int is_walked = seen_element(seen, id, bytes + at + head, is_master ? 0 : element);
        at += head + (is_walked ? 0 : (uint32_t)element);
    }
    seen->is_whole = at == size && !seen->is_broken;
}

/* A cluster whose time is cut off has not begun yet. */
static inline void mkv_read(struct mkv_seen *seen, const uint8_t *bytes, uint32_t size)
{
    memset(seen, 0, sizeof *seen);
    mkv_walk(seen, bytes, size);
    if (seen->cluster_count > 0 && !seen->clusters[seen->cluster_count - 1].has_tc) seen->cluster_count--;
}

static inline void mkv_forget(struct mkv_seen *seen)
{
    free(seen->blocks);
    free(seen->clusters);
    free(seen->tags);
    memset(seen, 0, sizeof *seen);
}

#endif
