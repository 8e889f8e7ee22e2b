/* read.c — bytes out of a stream for one upload handle: header, then per fragment its tags and cluster header, its
 * blocks, its trailer; at the end of the session the end-of-fragment tag.
 *
 * The header is that of the first fragment's format, made when a first byte is read and kept with the format. Cluster
 * times lie absolute in the store and are made relative on the way out, because relative means "to this session". */
#include "engine/engine.h"

#include <string.h>

#include "base/be.h"

struct reader {
    struct kvs_stream *stream;
    struct upload *upload;
    uint8_t *out;
    uint32_t room, filled;
    uint64_t now_hns;
    int has_moved; /* from one fragment to another, or to an end: what is owed and what may go can be different */
};

enum step { STEP_ON, STEP_WAIT, STEP_END };

static struct kvs_fragment *here(const struct reader *reader)
{
    return kvs_view_fragment(&reader->stream->view, reader->upload->at_fragment);
}

/* Copies as much of [offset, offset + size) of the chain as fits, from the place where the part stands; 1 when whole.
 * */
static inline int copy_chain(struct reader *reader, uint64_t offset, uint64_t size)
{
    struct upload *upload = reader->upload;
    uint64_t left = size - upload->at_offset;
    uint32_t piece = left < reader->room ? (uint32_t)left : reader->room;
    kvs_chain_read(&reader->stream->chain, offset + upload->at_offset, reader->out, piece);
    upload->at_offset += piece;
    upload->read_cum += piece;
    reader->out += piece;
    reader->room -= piece;
    reader->filled += piece;
    return upload->at_offset == size;
}

static int copy_bytes(struct reader *reader, const uint8_t *bytes, uint32_t size)
{
    struct upload *upload = reader->upload;
    uint32_t left = size - (uint32_t)upload->at_offset;
    uint32_t piece = left < reader->room ? left : reader->room;
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

static kvs_status make_header(const struct kvs_stream *stream, struct format *format)
{
    struct kvs_mkv_header header = { stream->segment_uuid, stream->limits.scale_hns, stream->client->client_id,
                                     format->tracks,       format->track_count,      format->track_mask };
    if (format->header != NULL) return KVS_OK;
    format->header_size = kvs_mkv_header_size(&header);
    format->header = kvs_host_alloc(stream->host, format->header_size);
    if (format->header == NULL) return KVS_E_NOMEM;
    kvs_mkv_header_write(&header, format->header);
    return KVS_OK;
}

static int is_settled(const struct reader *reader)
{
    return (here(reader)->flags & (KVS_FRAGMENT_DONE | KVS_FRAGMENT_DROPPED)) != 0;
}

/* Past what is settled meanwhile; 0 when nothing of this session is there to read (yet). */
static int seek(struct reader *reader)
{
    struct upload *upload = reader->upload;
    const struct kvs_view *view = &reader->stream->view;
    if (upload->at_fragment < view->fragment_tail) upload->at_fragment = view->fragment_tail;
    reader->has_moved = 1;
    while (upload->at_fragment < view->fragment_head && upload->at_fragment <= upload->last && is_settled(reader))
        upload->at_fragment++;
    return upload->at_fragment < view->fragment_head && upload->at_fragment <= upload->last;
}

static kvs_status bind(struct reader *reader)
{
    struct upload *upload = reader->upload;
    kvs_status status = make_header(reader->stream, formats_find(reader->stream, here(reader)->format));
    if (status != KVS_OK) return status;
    upload->first = upload->done_next = upload->sent_next = upload->at_fragment;
    upload->format = here(reader)->format;
    upload->read_cum = here(reader)->cum_bytes;
    upload->is_bound = 1;
    session_move(reader->stream, upload, KVS_UPLOAD_EV_READ);
    reader->stream->metrics.sessions_active++;
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
    session_move(reader->stream, reader->upload, KVS_UPLOAD_EV_LAST_READ);
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
    if (fragment->read_hns != KVS_TIME_NONE) reader->stream->metrics.fragments_resent++;
    fragment->read_hns = reader->now_hns;
    upload->read_cum = fragment->cum_bytes;
    upload->sent_next = upload->at_fragment + 1;
    upload->last_tc = fragment->timecode;
    upload->has_sent = 1;
    upload->has_end = 0;
}

/* The bytes just copied are [from, to) of the prefix: what of the cluster's time lies in them becomes relative. */
static void make_relative(struct reader *reader, uint64_t from, uint64_t to)
{
    uint8_t time[8];
    uint64_t at = here(reader)->prefix_size - KVS_MKV_CLUSTER_SIZE + KVS_MKV_CLUSTER_TIMECODE_OFFSET;
    kvs_be_put_u64(time, kvs_hns_sub(here(reader)->timecode, reader->upload->base_tc));
    for (uint64_t i = from > at ? from : at; i < to && i < at + 8; i++) *(reader->out - (to - i)) = time[i - at];
}

static enum step read_prefix(struct reader *reader)
{
    struct upload *upload = reader->upload;
    struct kvs_stream *stream = reader->stream;
    if (upload->at_offset == 0) {
        if (!seek(reader)) {
            int is_over = upload->at_fragment > upload->last || stream->is_stopped;
            return is_over ? last_read(reader) : STEP_WAIT;
        }
        if (needs_other_session(reader)) {
            upload->last = upload->at_fragment - 1;
            return last_read(reader);
        }
        begin_fragment(reader);
    }
    uint64_t from = upload->at_offset;
    int whole = copy_chain(reader, here(reader)->prefix_offset, here(reader)->prefix_size);
    if (stream->flags & KVS_RELATIVE_TIMES) make_relative(reader, from, upload->at_offset);
    if (!whole) return STEP_ON;
    upload->at_frame = here(reader)->first_frame;
    go_to(upload, PART_FRAME);
    return STEP_ON;
}

static void next_fragment(struct reader *reader)
{
    here(reader)->flags |= KVS_FRAGMENT_SENT;
    reader->upload->at_fragment++;
    reader->has_moved = 1;
    go_to(reader->upload, PART_PREFIX);
    ledger_handed_out(reader->stream);
}

static enum step read_frames(struct reader *reader)
{
    struct upload *upload = reader->upload;
    struct kvs_stream *stream = reader->stream;
    uint64_t end = kvs_view_fragment_end(&stream->view, upload->at_fragment);
    while (upload->at_frame < end) {
        const struct kvs_frame *frame = kvs_view_frame(&stream->view, upload->at_frame);
        if (!copy_chain(reader, frame->offset, frame->size)) break;
        upload->at_frame++;
        upload->at_offset = 0;
    }
    if (upload->at_frame > stream->sent_frames) stream->sent_frames = upload->at_frame;
    if (upload->at_frame < end) return STEP_ON;
    if (!(here(reader)->flags & KVS_FRAGMENT_CLOSED)) return STEP_WAIT;
    if (here(reader)->trailer_size != 0) go_to(upload, PART_TRAILER);
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
        int owes = stream_waits_for_acks(reader->stream) &&
                   kvs_hns_max(upload->done_next, reader->stream->view.fragment_tail) < upload->sent_next;
        session_move(reader->stream, upload, owes ? KVS_UPLOAD_EV_END_READ : KVS_UPLOAD_EV_END_READ_DONE);
    }
    return STEP_END;
}

static enum step read_part(struct reader *reader)
{
    switch (reader->upload->part) {
    case PART_HEADER: return read_header(reader);
    case PART_PREFIX: return read_prefix(reader);
    case PART_FRAME: return read_frames(reader);
    case PART_TRAILER: return read_trailer(reader);
    default: return read_end(reader);
    }
}

/* ---- one read ---------------------------------------------------------------------------------------------------- */

static void note_sent(struct reader *reader)
{
    reader->stream->metrics.bytes_sent += reader->filled;
    if (reader->filled == 0) return;
    if (reader->has_moved) pressure_note_owed(reader->stream, reader->upload, reader->now_hns);
    if (stream_waits_for_acks(reader->stream)) return;
    /* Without ACKs nobody says that bytes arrived: a session that lives is the sign. */
    uint64_t lived = kvs_hns_sub(reader->now_hns, reader->upload->opened_hns);
    if (lived > reader->stream->client->backoff_cap_hns) kvs_backoff_progress(&reader->stream->session_backoff);
}

static enum kvs_read_state finish(struct reader *reader, enum step step)
{
    struct upload *upload = reader->upload;
    if (upload->state == KVS_UPLOAD_FINISHED || upload->state == KVS_UPLOAD_DEAD) {
        if (upload->state == KVS_UPLOAD_FINISHED) kvs_backoff_progress(&reader->stream->session_backoff);
        session_remove(reader->stream, upload);
        return KVS_READ_END;
    }
    if (upload->state == KVS_UPLOAD_AWAITING_ACK) return KVS_READ_AWAITING_ACK;
    upload->is_waiting = step == STEP_WAIT;
    return step == STEP_WAIT ? KVS_READ_WAIT : KVS_READ_MORE;
}

/* Relative times can not lie before the start that the service was told: such a session ends without a byte, and the
 * next one tells its own. */
static int is_before_start(const struct reader *reader)
{
    return (reader->stream->flags & KVS_RELATIVE_TIMES) != 0 && here(reader)->timecode < reader->upload->base_tc;
}

static kvs_status begin(struct reader *reader, enum step *step_out)
{
    struct upload *upload = reader->upload;
    int is_over = 0, has_data = seek(reader);
    if (!has_data) is_over = upload->at_fragment > upload->last || reader->stream->is_stopped;
    else if (is_before_start(reader)) is_over = 1;
    else if (bind(reader) != KVS_OK) return KVS_E_NOMEM;
    if (is_over) session_move(reader->stream, upload, KVS_UPLOAD_EV_LAST_READ);
    *step_out = upload->is_bound ? STEP_ON : is_over ? STEP_END : STEP_WAIT;
    return KVS_OK;
}

static kvs_status fill(struct reader *reader, enum step *step_out)
{
    enum step step = STEP_ON;
    kvs_status status = reader->upload->is_bound ? KVS_OK : begin(reader, &step);
    if (status != KVS_OK) return status;
    while (step == STEP_ON && reader->room != 0) step = read_part(reader);
    *step_out = step;
    return KVS_OK;
}

static kvs_status read_locked(struct reader *reader, enum kvs_read_state *state_out)
{
    uint8_t state = reader->upload->state;
    enum step step = STEP_END;
    if (state == KVS_UPLOAD_OPENING) return KVS_E_UPLOAD_STATE;
    if (state == KVS_UPLOAD_READY || state == KVS_UPLOAD_STREAMING || state == KVS_UPLOAD_DRAINING) {
        kvs_status status = fill(reader, &step);
        if (status != KVS_OK) return status;
        note_sent(reader);
    }
    *state_out = finish(reader, step);
    if (reader->has_moved || *state_out >= KVS_READ_AWAITING_ACK) ledger_trim(reader->stream);
    if (stream_settle(reader->stream, reader->now_hns)) reader->has_moved = 1;
    return (kvs_status)reader->filled;
}

kvs_status kvs_upload_read(struct kvs_stream *stream, uint64_t handle, uint8_t *buffer, uint32_t buffer_size,
                           enum kvs_read_state *state_out, uint64_t now_hns)
{
    if (stream == NULL || buffer == NULL || state_out == NULL) return KVS_E_NULL_ARG;
    if (buffer_size == 0 || buffer_size > INT32_MAX) return KVS_E_INVALID_ARG;
    stream_lock(stream);
    struct reader reader = { stream, session_find(stream, handle), buffer, buffer_size, 0, now_hns, 0 };
    kvs_status status = reader.upload == NULL ? KVS_E_UNKNOWN_UPLOAD : read_locked(&reader, state_out);
    if (status >= 0) pressure_check(stream);
    if (reader.has_moved || status < 0) stream_unlock(stream);
    else stream_unlock_quiet(stream);
    return status;
}
