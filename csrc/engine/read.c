/* read.c — bytes out of a stream for one upload handle: header, then per fragment its tags and cluster header, its
 * blocks, its trailer; at the end of the session the end-of-fragment tag.
 *
 * The header is that of the first fragment's format, made when a first byte is read and kept with the format. Cluster
 * times lie absolute in the store and are made relative on the way out, because relative means "to this session". */
#include "engine/uploads.h"

#include <string.h>

#include "base/be.h"

#define LEND_MIN 4096u /* smaller pieces are copied: a span costs its reader about as much */

static struct kvs_fragment *here(const struct reader *reader)
{
    return kvs_view_fragment(&reader->stream->view, reader->upload->at_fragment);
}

/* The loan's span that ends where the next byte is copied to; NULL: that byte begins another one. */
static struct kvs_span *running_span(const struct reader *reader)
{
    const struct kvs_loan *loan = reader->loan;
    struct kvs_span *last = loan->span_count != 0 ? &loan->spans[loan->span_count - 1u] : NULL;
    return last != NULL && last->bytes + last->size == reader->out ? last : NULL;
}

/* A loan's spans and buffer may be full before the room is: then the read is over. */
static int may_copy(struct reader *reader)
{
    const struct kvs_loan *loan = reader->loan;
    int is_full = loan != NULL && (reader->out == loan->buffer + loan->buffer_size ||
                                   (loan->span_count == loan->span_max && running_span(reader) == NULL));
    if (is_full) reader->room = 0;
    return reader->room != 0;
}

/* How many of the next `left` bytes may be copied to `out` now. */
static inline uint32_t room_for_copy(struct reader *reader, uint64_t left)
{
    uint32_t piece = left < reader->room ? (uint32_t)left : reader->room;
    struct kvs_loan *loan = reader->loan;
    if (loan == NULL || piece == 0) return piece;
    if (!may_copy(reader)) return 0;
    struct kvs_span *running = running_span(reader);
    uint32_t free_size = (uint32_t)(loan->buffer + loan->buffer_size - reader->out);
    if (piece > free_size) piece = free_size;
    if (running != NULL) running->size += piece;
    else loan->spans[loan->span_count++] = (struct kvs_span) { reader->out, piece };
    return piece;
}

/* Copies as much of [offset, offset + size) of the chain as fits, from where the part stands; 1 when whole. */
static inline int copy_chain(struct reader *reader, uint64_t offset, uint64_t size)
{
    struct upload *upload = reader->upload;
    uint32_t piece = room_for_copy(reader, size - upload->at_offset);
    kvs_chain_read(&reader->stream->chain, offset + upload->at_offset, reader->out, piece);
    upload->at_offset += piece;
    upload->read_cum += piece;
    upload->cluster_bytes += piece;
    reader->out += piece;
    reader->room -= piece;
    reader->filled += piece;
    return upload->at_offset == size;
}

static int copy_bytes(struct reader *reader, const uint8_t *bytes, uint32_t size)
{
    struct upload *upload = reader->upload;
    uint32_t piece = room_for_copy(reader, size - upload->at_offset);
    memcpy(reader->out, bytes + upload->at_offset, piece);
    upload->at_offset += piece;
    reader->out += piece;
    reader->room -= piece;
    reader->filled += piece;
    return upload->at_offset == size;
}

static void go_to(struct upload *upload, uint8_t part)
{
    upload->part = part;
    upload->at_offset = 0;
}

/* ---- the session's beginning ------------------------------------------------------------------------------------- */

/* Past what is settled meanwhile; 0 when nothing of this session is there to read (yet). */
static int seek(struct reader *reader)
{
    struct upload *upload = reader->upload;
    const struct kvs_view *view = &reader->stream->view;
    if (upload->at_fragment < view->fragment_tail) upload->at_fragment = view->fragment_tail;
    reader->has_moved = 1;
    while (upload->at_fragment < view->fragment_head && upload->at_fragment <= upload->last &&
           ledger_is_settled(here(reader)->flags)) {
        here(reader)->sent_tc = here(reader)->timecode; /* not what another upload made of it */
        upload->at_fragment++;
    }
    return upload->at_fragment < view->fragment_head && upload->at_fragment <= upload->last;
}

static kvs_status bind(struct reader *reader)
{
    struct upload *upload = reader->upload;
    kvs_status status = formats_make_header(reader->stream, formats_find(reader->stream, here(reader)->format));
    if (status != KVS_OK) return status;
    upload->first = upload->done_next = upload->sent_next = upload->at_fragment;
    upload->format = here(reader)->format;
    upload->read_cum = here(reader)->cum_bytes;
    upload->is_bound = 1;
    int is_late = upload->expires_hns != KVS_TIME_NONE &&
                  reader->now_hns >= kvs_hns_sub(upload->expires_hns, KVS_TOKEN_GRACE_HNS);
    if (is_late && upload->last == KVS_TIME_NONE) upload->last = upload->at_fragment; /* the rest: the next token's */
    upload_move(reader->stream, upload, KVS_UPLOAD_EV_READ);
    go_to(upload, PART_HEADER);
    return KVS_OK;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static enum step read_header(struct reader *reader)
{
    const struct format *format = formats_find(reader->stream, reader->upload->format);
    if (copy_bytes(reader, format->header, format->header_size)) go_to(reader->upload, PART_PREFIX);
    return STEP_ON;
}

static enum step last_read(struct reader *reader)
{
    upload_move(reader->stream, reader->upload, KVS_UPLOAD_EV_LAST_READ);
    go_to(reader->upload, PART_END);
    return STEP_ON;
}

static int needs_other_session(const struct reader *reader)
{
    const struct upload *upload = reader->upload;
    if (here(reader)->format != upload->format) return 1;
    if (!upload->has_sent) return 0;
    return (here(reader)->flags & KVS_FRAGMENT_NEW_SESSION) != 0 || here(reader)->timecode <= upload->last_tc;
}

static void begin_fragment(struct reader *reader)
{
    struct upload *upload = reader->upload;
    struct kvs_fragment *fragment = here(reader);
    fragment->flags &= ~(uint32_t)(KVS_FRAGMENT_BUFFERING | KVS_FRAGMENT_RECEIVED); /* of another session */
    if (fragment->read_hns != KVS_TIME_NONE) reader->stream->ledger.metrics.fragments_resent++;
    fragment->read_hns = reader->now_hns;
    upload->read_cum = fragment->cum_bytes;
    upload->sent_next = upload->at_fragment + 1;
    upload->last_tc = fragment->timecode;
    upload->has_sent = 1;
    upload->has_end = 0;
    fragment->sent_tc = upload->cluster_tc = fragment->timecode;
    upload->cluster_bytes = 0;
    pace_began(reader->stream, reader->now_hns);
}

/* The fragment continues in the cluster that runs: without a header of its own, and its ACK is that cluster's. */
static void join_fragment(struct reader *reader)
{
    struct upload *upload = reader->upload;
    uint64_t cluster_tc = upload->cluster_tc, cluster_bytes = upload->cluster_bytes;
    uint32_t acks = kvs_view_fragment(&reader->stream->view, upload->at_fragment - 1)->flags;
    begin_fragment(reader);
    here(reader)->flags |= acks & (KVS_FRAGMENT_BUFFERING | KVS_FRAGMENT_RECEIVED);
    here(reader)->sent_tc = upload->cluster_tc = cluster_tc;
    upload->cluster_bytes = cluster_bytes;
    upload->read_cum += here(reader)->prefix_size;
    upload->at_frame = here(reader)->first_frame;
    go_to(upload, PART_FRAME);
}

/* The bytes just copied are [from, to) of the prefix: what of the cluster's time lies in them becomes relative. */
static void make_relative(struct reader *reader, uint64_t from, uint64_t to)
{
    uint8_t time[8];
    uint64_t at = here(reader)->prefix_size - KVS_MKV_CLUSTER_SIZE + KVS_MKV_CLUSTER_TIMECODE_OFFSET;
    kvs_be_put_u64(time, kvs_hns_sub(here(reader)->timecode, reader->upload->base_tc));
    for (uint64_t i = from > at ? from : at; i < to && i < at + 8; i++) *(reader->out - (to - i)) = time[i - at];
}

/* Before the next cluster may begin; a fragment that is to be done first needs its end. */
static enum step hold(struct reader *reader)
{
    if (!reader->upload->is_probe || reader->upload->has_end) return STEP_WAIT;
    go_to(reader->upload, PART_PAUSE);
    return STEP_ON;
}

static enum step read_pause(struct reader *reader)
{
    uint8_t tag[KVS_MKV_END_TAG_SIZE];
    kvs_mkv_end_tag_write(tag);
    if (!copy_bytes(reader, tag, sizeof tag)) return STEP_ON;
    reader->upload->has_end = 1;
    go_to(reader->upload, PART_PREFIX);
    return STEP_ON;
}

static enum step read_prefix(struct reader *reader)
{
    struct upload *upload = reader->upload;
    struct kvs_stream *stream = reader->stream;
    if (upload->at_offset == 0) {
        if (!seek(reader)) {
            int is_over = upload->at_fragment > upload->last || stream->ledger.is_stopped;
            return is_over ? last_read(reader) : STEP_WAIT;
        }
        if (needs_other_session(reader)) {
            upload->last = upload->at_fragment - 1;
            return last_read(reader);
        }
        if (pace_joins(stream, upload, reader->newest_end_hns)) {
            join_fragment(reader);
            return STEP_ON;
        }
        if (pace_holds(stream, upload, reader->now_hns)) return hold(reader);
        if (!may_copy(reader)) return STEP_ON; /* it begins with its first byte */
        begin_fragment(reader);
    }
    uint64_t from = upload->at_offset;
    int whole = copy_chain(reader, here(reader)->prefix_offset, here(reader)->prefix_size);
    if (stream->mode.flags & KVS_RELATIVE_TIMES) make_relative(reader, from, upload->at_offset);
    if (!whole) return STEP_ON;
    upload->at_frame = here(reader)->first_frame;
    go_to(upload, PART_FRAME);
    return STEP_ON;
}

static void next_fragment(struct reader *reader)
{
    here(reader)->flags |= KVS_FRAGMENT_SENT;
    uploads_handed_out(reader->stream);
    reader->upload->at_fragment++;
    reader->has_moved = 1;
    go_to(reader->upload, PART_PREFIX);
}

/* The bytes just copied are [from, at_offset) of a block: what of its time lies in them becomes relative to the cluster
 * that it was joined to. */
static void place_block(struct reader *reader, const struct kvs_frame *frame, uint64_t from)
{
    const struct upload *upload = reader->upload;
    uint64_t tc = kvs_hns_to_tc(frame->pts_hns, reader->stream->limits.scale_hns), to = upload->at_offset;
    uint8_t time[2];
    kvs_be_put_u16(time, (uint32_t)(tc - upload->cluster_tc) & 0xFFFFu);
    uint64_t at = from > KVS_MKV_BLOCK_TIME_OFFSET ? from : KVS_MKV_BLOCK_TIME_OFFSET;
    for (; at < to && at < KVS_MKV_BLOCK_TIME_OFFSET + 2u; at++)
        *(reader->out - (to - at)) = time[at - KVS_MKV_BLOCK_TIME_OFFSET];
}

/* Lends what is left of a frame, a slab at a time; 1 when that is all of it. */
static int lend_rest(struct reader *reader, const struct kvs_frame *frame)
{
    struct upload *upload = reader->upload;
    struct kvs_loan *loan = reader->loan;
    while (upload->at_offset < frame->size && reader->room != 0) {
        uint64_t at = frame->offset + upload->at_offset, in_slab = KVS_SLAB_SIZE - at % KVS_SLAB_SIZE;
        uint64_t piece = kvs_hns_min(kvs_hns_min(frame->size - upload->at_offset, in_slab), reader->room);
        if (loan->span_count == loan->span_max) {
            reader->room = 0;
            break;
        }
        loan->spans[loan->span_count++] = (struct kvs_span) { kvs_chain_at(&reader->stream->chain, at, piece), piece };
        lend_note(reader->stream, upload->handle, at, at + piece);
        upload->at_offset += piece;
        upload->read_cum += piece;
        upload->cluster_bytes += piece;
        reader->room -= (uint32_t)piece;
        reader->filled += (uint32_t)piece;
    }
    return upload->at_offset == frame->size;
}

/* As much of the frame as fits; 1 when that is all of it. A block header whose time changes on its way is copied. */
static int read_frame(struct reader *reader, const struct kvs_frame *frame, int is_joined)
{
    struct upload *upload = reader->upload;
    uint64_t from = upload->at_offset;
    int is_lent = reader->may_lend && frame->size - from >= LEND_MIN;
    int is_whole = 0;
    if (!is_lent) is_whole = copy_chain(reader, frame->offset, frame->size);
    else if (is_joined && from < KVS_MKV_BLOCK_SIZE) (void)copy_chain(reader, frame->offset, KVS_MKV_BLOCK_SIZE);
    if (is_joined) place_block(reader, frame, from);
    if (is_joined && upload->at_offset < KVS_MKV_BLOCK_SIZE) reader->room = 0; /* the buffer ends inside the header */
    return is_lent ? lend_rest(reader, frame) : is_whole;
}

/* A frame that is copied whole out of one slab, as nearly all small ones are; 0 when it is not such a one. */
static inline int copy_frame(struct reader *reader, const struct kvs_frame *frame)
{
    struct upload *upload = reader->upload;
    if (upload->at_offset != 0 || frame->size > reader->room || reader->loan != NULL) return 0;
    const uint8_t *place = kvs_chain_at(&reader->stream->chain, frame->offset, frame->size);
    if (place == NULL) return 0;
    memcpy(reader->out, place, frame->size);
    upload->read_cum += frame->size;
    upload->cluster_bytes += frame->size;
    reader->out += frame->size;
    reader->room -= frame->size;
    reader->filled += frame->size;
    return 1;
}

static enum step read_frames(struct reader *reader)
{
    struct upload *upload = reader->upload;
    struct kvs_stream *stream = reader->stream;
    const struct kvs_fragment *fragment = here(reader);
    uint64_t at = upload->at_frame, end = kvs_view_fragment_end(&stream->view, upload->at_fragment);
    int is_joined = upload->cluster_tc != fragment->timecode;
    for (; at < end; at++) {
        const struct kvs_frame *frame = kvs_view_frame(&stream->view, at);
        if (!is_joined && copy_frame(reader, frame)) continue;
        if (!read_frame(reader, frame, is_joined)) break;
        upload->at_offset = 0;
    }
    upload->at_frame = at;
    if (at < end) return STEP_ON;
    if (!(fragment->flags & KVS_FRAGMENT_CLOSED)) return STEP_WAIT;
    if (fragment->trailer_size != 0) go_to(upload, PART_TRAILER);
    else next_fragment(reader);
    return STEP_ON;
}

static enum step read_trailer(struct reader *reader)
{
    if (!copy_chain(reader, here(reader)->trailer_offset, here(reader)->trailer_size)) return STEP_ON;
    reader->upload->has_end = 1;
    next_fragment(reader);
    return STEP_ON;
}

static enum step read_end(struct reader *reader)
{
    uint8_t tag[KVS_MKV_END_TAG_SIZE];
    struct upload *upload = reader->upload;
    if (upload->state == KVS_UPLOAD_DRAINING) {
        kvs_mkv_end_tag_write(tag);
        if (upload->has_sent && !upload->has_end && !copy_bytes(reader, tag, sizeof tag)) return STEP_ON;
        int is_due = stream_waits_for_acks(reader->stream) &&
                     kvs_hns_max(upload->done_next, reader->stream->view.fragment_tail) < upload->sent_next;
        upload_move(reader->stream, upload, is_due ? KVS_UPLOAD_EV_END_READ : KVS_UPLOAD_EV_END_READ_DONE);
    }
    return STEP_END;
}

static enum step read_part(struct reader *reader)
{
    if (reader->upload->part == PART_FRAME) return read_frames(reader);
    switch (reader->upload->part) {
    case PART_HEADER: return read_header(reader);
    case PART_PREFIX: return read_prefix(reader);
    case PART_TRAILER: return read_trailer(reader);
    case PART_PAUSE: return read_pause(reader);
    default: return read_end(reader);
    }
}

/* ---- one read ---------------------------------------------------------------------------------------------------- */

/* Relative times can not lie before the start that the service was given: such a session ends without a byte, and the
 * next one gives its own. */
static int is_before_start(const struct reader *reader)
{
    return (reader->stream->mode.flags & KVS_RELATIVE_TIMES) != 0 && here(reader)->timecode < reader->upload->base_tc;
}

static kvs_status begin(struct reader *reader, enum step *step_out)
{
    struct upload *upload = reader->upload;
    int is_over = 0, has_data = seek(reader);
    if (upload_is_behind(reader->stream, upload)) has_data = 0;
    else if (!has_data) is_over = upload->at_fragment > upload->last || reader->stream->ledger.is_stopped;
    else if (is_before_start(reader)) is_over = 1;
    else if (bind(reader) != KVS_OK) return KVS_E_NOMEM;
    if (is_over) upload_move(reader->stream, upload, KVS_UPLOAD_EV_LAST_READ);
    *step_out = upload->is_bound ? STEP_ON : is_over ? STEP_END : STEP_WAIT;
    return KVS_OK;
}

kvs_status read_fill(struct reader *reader, enum step *step_out)
{
    enum step step = STEP_ON;
    if (reader->upload->wait_until_hns != 0) pace_resume(reader->upload, reader->now_hns);
    kvs_status status = reader->upload->is_bound ? KVS_OK : begin(reader, &step);
    if (status != KVS_OK) return status;
    while (step == STEP_ON && reader->room != 0) step = read_part(reader);
    *step_out = step;
    return KVS_OK;
}
