/* order.c — see order.h. */
#include "store/order.h"

#include <string.h>

#include "base/check.h"
#include "base/hns.h"

#define QUEUE_MIN 16u

static struct kvs_held *item(const struct kvs_held_queue *queue, uint32_t number)
{
    return &queue->items[number & (queue->capacity - 1u)];
}

static struct kvs_held *front(const struct kvs_held_queue *queue)
{
    return queue->head == queue->tail ? NULL : item(queue, queue->tail);
}

static int is_timed(const struct kvs_order_queue *order) { return order->mode != KVS_ORDER_CUT; }

void kvs_order_reset(struct kvs_order_queue *order)
{
    KVS_CHECK(kvs_order_count(order) == 0);
    order->lead_pts_hns = order->latest_pts_hns = 0;
    order->first_pts_hns = KVS_TIME_NONE;
    order->is_started = 0;
    for (uint32_t i = 0; i < KVS_TRACKS_MAX; i++) {
        order->queues[i].seen_pts_hns = 0;
        order->queues[i].is_seen = order->queues[i].is_silent = 0;
    }
}

kvs_status kvs_order_reserve(struct kvs_order_queue *order, const struct kvs_host *host, uint32_t track)
{
    struct kvs_held_queue *queue = &order->queues[track];
    uint32_t count = queue->head - queue->tail;
    if (is_timed(order) && count >= KVS_ORDER_QUEUE_MAX) return KVS_E_ORDER_FULL;
    if (count < queue->capacity) return KVS_OK;
    uint32_t capacity = queue->capacity == 0 ? QUEUE_MIN : queue->capacity * 2u;
    struct kvs_held *items = kvs_host_alloc(host, capacity * sizeof *items);
    if (items == NULL) return KVS_E_NOMEM;
    for (uint32_t i = queue->tail; i != queue->head; i++) items[i & (capacity - 1u)] = *item(queue, i);
    if (queue->items != NULL) kvs_host_free(host, queue->items);
    queue->items = items;
    queue->capacity = capacity;
    return KVS_OK;
}

void kvs_order_push(struct kvs_order_queue *order, const struct kvs_held *held)
{
    struct kvs_held_queue *queue = &order->queues[held->track];
    KVS_CHECK(queue->head - queue->tail < queue->capacity);
    *item(queue, queue->head++) = *held;
    int is_restart = (held->flags & KVS_HELD_RESTART) != 0;
    if (is_restart) queue->newest_restart = queue->head - 1u;
    if (!queue->is_seen || is_restart || held->frame.pts_hns > queue->seen_pts_hns)
        queue->seen_pts_hns = held->frame.pts_hns;
    queue->is_seen = 1;
}

static int leave(struct kvs_held_queue *queue, struct kvs_held *held_out)
{
    *held_out = *item(queue, queue->tail++);
    return 1;
}

/* ---- DTS and PTS ------------------------------------------------------------------------------------------------ */

static uint64_t key_of(const struct kvs_order_queue *order, const struct kvs_held *held)
{
    int by_pts = order->mode == KVS_ORDER_PTS || order->mode == KVS_ORDER_PTS_EOFR;
    return (by_pts ? held->frame.pts_hns : held->dts_hns) / order->scale_hns;
}

/* Whether b (listed later) leaves before a; of a tie between types the loser is moved one unit, once. */
static int leaves_first(const struct kvs_order_queue *order, struct kvs_held *a, struct kvs_held *b)
{
    uint64_t key_a = key_of(order, a), key_b = key_of(order, b);
    if (key_a != key_b) return key_b < key_a;
    if (order->queues[a->track].is_video == order->queues[b->track].is_video) return 0;
    int b_first = (b->flags & KVS_FRAME_KEY) != 0 && (a->flags & KVS_FRAME_KEY) == 0;
    struct kvs_held *loser = b_first ? a : b;
    if (!loser->is_moved) {
        loser->frame.pts_hns += order->scale_hns;
        loser->is_moved = 1;
    }
    return b_first;
}

static int timed_next(struct kvs_order_queue *order, int flush, struct kvs_held *held_out)
{
    struct kvs_held *best = NULL;
    for (uint32_t i = 0; i < order->track_count; i++) {
        struct kvs_held *held = front(&order->queues[i]);
        if (held == NULL && !flush) return 0;
        if (held == NULL) continue;
        if (best == NULL || leaves_first(order, best, held)) best = held;
    }
    return best == NULL ? 0 : leave(&order->queues[best->track], held_out);
}

/* ---- CUT -------------------------------------------------------------------------------------------------------- */

static int waited_enough(const struct kvs_order_queue *order, const struct kvs_held_queue *queue, uint64_t now_hns)
{
    const struct kvs_held *held = front(queue);
    if (queue->head - queue->tail > KVS_ORDER_CUT_QUEUE_MAX) return 1;
    return held != NULL && now_hns >= kvs_hns_add(held->arrival_hns, order->window_hns);
}

/* The least pts of the key frame at the lead's front and its leading pictures; *known_out: a later frame ends them. */
static uint64_t find_cut(const struct kvs_held_queue *lead, int *known_out)
{
    uint64_t key_pts = item(lead, lead->tail)->frame.pts_hns, cut = key_pts;
    *known_out = 0;
    for (uint32_t i = lead->tail + 1u; i != lead->head; i++) {
        uint64_t pts = item(lead, i)->frame.pts_hns;
        if (pts > key_pts) {
            *known_out = 1;
            break;
        }
        if (pts < cut) cut = pts;
    }
    return cut;
}

/* Of the times before a step back that leads to `pts_hns`. */
static int is_old(const struct kvs_held *held, uint64_t pts_hns)
{
    return held->frame.pts_hns > kvs_hns_add(pts_hns, KVS_ORDER_APART_HNS);
}

/* Too far from what the open fragment holds to be of it: after a pause, or when no key frame came for long, a frame
 * belongs to the fragment that comes. */
static int is_apart(const struct kvs_order_queue *order, const struct kvs_held *held)
{
    if (!order->is_started) return 0;
    if ((held->flags & KVS_HELD_RESTART) != 0 &&
        kvs_hns_add(held->frame.pts_hns, KVS_ORDER_EARLY_MAX_HNS) < order->first_pts_hns)
        return 1;
    return held->frame.pts_hns > kvs_hns_add(order->latest_pts_hns, KVS_ORDER_APART_HNS) ||
           held->frame.pts_hns > kvs_hns_add(order->first_pts_hns, KVS_ORDER_SPAN_MAX_HNS);
}

/* The follower front with the least pts among those before the timecode `end_tc`: what counts is what is written. */
static struct kvs_held_queue *earliest_follower(struct kvs_order_queue *order, uint64_t end_tc)
{
    struct kvs_held_queue *best = NULL;
    for (uint32_t i = 0; i < order->track_count; i++) {
        struct kvs_held_queue *queue = &order->queues[i];
        const struct kvs_held *held = front(queue);
        if (i == order->lead || held == NULL || queue->is_silent || is_apart(order, held)) continue;
        if (held->frame.pts_hns / order->scale_hns >= end_tc) continue;
        if (best == NULL || held->frame.pts_hns < front(best)->frame.pts_hns) best = queue;
    }
    return best;
}

/* The follower front that still has the times before the step back of the key frame `key`. */
static struct kvs_held_queue *old_follower(struct kvs_order_queue *order, const struct kvs_held *key)
{
    for (uint32_t i = 0; i < order->track_count && (key->flags & KVS_HELD_RESTART) != 0; i++) {
        struct kvs_held_queue *queue = &order->queues[i];
        const struct kvs_held *held = front(queue);
        if (i == order->lead || held == NULL || queue->is_silent || is_apart(order, held)) continue;
        if (is_old(held, key->frame.pts_hns)) return queue;
    }
    return NULL;
}

static int followers_have_come(const struct kvs_order_queue *order, const struct kvs_held *key, uint64_t cut)
{
    int is_restart = (key->flags & KVS_HELD_RESTART) != 0;
    uint64_t old_hns = is_restart ? kvs_hns_add(key->frame.pts_hns, KVS_ORDER_APART_HNS) : UINT64_MAX;
    for (uint32_t i = 0; i < order->track_count; i++) {
        const struct kvs_held_queue *queue = &order->queues[i];
        if (i == order->lead || queue->is_silent) continue;
        if (!queue->is_seen) return 0;
        if (order->is_started && (queue->seen_pts_hns < cut || queue->seen_pts_hns > old_hns)) return 0;
    }
    return 1;
}

static int release_key(struct kvs_order_queue *order, uint64_t now_hns, int flush, struct kvs_held *held_out)
{
    struct kvs_held_queue *lead = &order->queues[order->lead];
    int enough = flush || waited_enough(order, lead, now_hns), is_known = 0;
    uint64_t cut = find_cut(lead, &is_known);
    const struct kvs_held *key = front(lead);
    struct kvs_held_queue *old = old_follower(order, key);
    if (old != NULL) return leave(old, held_out);
    if (order->is_started && (is_known || enough)) {
        struct kvs_held_queue *follower = earliest_follower(order, cut / order->scale_hns);
        if (follower != NULL) return leave(follower, held_out);
    }
    if (!enough && ((order->is_started && !is_known) || !followers_have_come(order, key, cut))) return 0;
    order->is_started = 1;
    return leave(lead, held_out);
}

/* A key frame that lies before what has left: times begin again with it. */
static void note_lead(struct kvs_order_queue *order, const struct kvs_held *held)
{
    int is_restart = (held->flags & KVS_HELD_OPENS) != 0 && held->frame.pts_hns < order->lead_pts_hns;
    if (is_restart) order->latest_pts_hns = held->frame.pts_hns;
    if (is_restart || held->frame.pts_hns > order->lead_pts_hns) order->lead_pts_hns = held->frame.pts_hns;
}

static int cut_next(struct kvs_order_queue *order, uint64_t now_hns, int flush, struct kvs_held *held_out)
{
    struct kvs_held_queue *lead = &order->queues[order->lead];
    const struct kvs_held *held = front(lead);
    int done = 0;
    if (held != NULL) {
        done = (held->flags & KVS_HELD_OPENS) != 0 ? release_key(order, now_hns, flush, held_out)
                                                   : leave(lead, held_out);
        if (done && held_out->track == order->lead) note_lead(order, held_out);
        if (done) return 1;
    }
    if (!order->is_started) return 0;
    struct kvs_held_queue *follower = earliest_follower(order, order->lead_pts_hns / order->scale_hns + 1);
    if (follower != NULL) return leave(follower, held_out);
    for (uint32_t i = 0; i < order->track_count && front(lead) == NULL; i++) {
        struct kvs_held_queue *queue = &order->queues[i];
        if (i == order->lead || queue->is_silent || front(queue) == NULL) continue;
        if (!flush && is_apart(order, front(queue))) continue;
        if (flush || waited_enough(order, queue, now_hns)) return leave(queue, held_out);
    }
    return 0;
}

int kvs_order_next(struct kvs_order_queue *order, uint64_t now_hns, int flush, struct kvs_held *held_out)
{
    int left = is_timed(order) ? timed_next(order, flush, held_out) : cut_next(order, now_hns, flush, held_out);
    if (left && held_out->frame.pts_hns > order->latest_pts_hns) order->latest_pts_hns = held_out->frame.pts_hns;
    return left;
}

/* Whether the front of this queue can leave only behind the lead's next key frame. */
static int waits_for_key(const struct kvs_order_queue *order, uint32_t track)
{
    if (track == order->lead) return 0;
    const struct kvs_held *held = front(&order->queues[track]);
    return order->queues[track].is_silent || !order->is_started || (held != NULL && is_apart(order, held));
}

/* It has the times before a step back, and its track and the lead have both stepped: its fragment went without it. */
static int has_missed(const struct kvs_order_queue *order, const struct kvs_held_queue *queue)
{
    const struct kvs_held *held = front(queue);
    uint32_t behind = queue->newest_restart - queue->tail;
    if (behind == 0 || behind >= queue->head - queue->tail) return 0;
    return is_old(held, item(queue, queue->newest_restart)->frame.pts_hns) && is_old(held, order->latest_pts_hns);
}

int kvs_order_expired(struct kvs_order_queue *order, uint64_t now_hns, struct kvs_held *held_out)
{
    for (uint32_t i = 0; i < order->track_count && !is_timed(order); i++) {
        const struct kvs_held *held = front(&order->queues[i]);
        if (held == NULL || !waits_for_key(order, i)) continue;
        if (has_missed(order, &order->queues[i]) ||
            now_hns >= kvs_hns_add(held->arrival_hns, KVS_ORDER_KEY_WAIT_HNS))
            return leave(&order->queues[i], held_out);
    }
    return 0;
}

uint64_t kvs_order_next_deadline(const struct kvs_order_queue *order)
{
    uint64_t least = KVS_TIME_NONE;
    if (is_timed(order)) return least;
    for (uint32_t i = 0; i < order->track_count; i++) {
        const struct kvs_held *held = front(&order->queues[i]);
        int for_key = waits_for_key(order, i);
        if (held == NULL) continue;
        if (!for_key && i != order->lead && front(&order->queues[order->lead]) != NULL)
            continue; /* the lead's decides */
        uint64_t due = kvs_hns_add(held->arrival_hns, for_key ? KVS_ORDER_KEY_WAIT_HNS : order->window_hns);
        if (due < least) least = due;
    }
    return least;
}

uint64_t kvs_order_floor(const struct kvs_order_queue *order)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < order->track_count; i++) {
        const struct kvs_held *held = front(&order->queues[i]);
        if (held != NULL) least = kvs_hns_min(least, held->frame.offset - held->prefix_space);
    }
    return least;
}

int kvs_order_names_format(const struct kvs_order_queue *order, uint32_t number)
{
    for (uint32_t i = 0; i < order->track_count; i++) {
        const struct kvs_held_queue *queue = &order->queues[i];
        for (uint32_t at = queue->tail; at != queue->head; at++) {
            if (item(queue, at)->format == number) return 1;
        }
    }
    return 0;
}

const struct kvs_held *kvs_order_front(const struct kvs_order_queue *order, uint32_t track)
{
    return front(&order->queues[track]);
}

uint64_t kvs_order_next_index(const struct kvs_order_queue *order, uint32_t track, uint64_t none)
{
    const struct kvs_held *held = front(&order->queues[track]);
    return held == NULL ? none : held->index;
}

uint32_t kvs_order_count(const struct kvs_order_queue *order)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < order->track_count; i++) count += order->queues[i].head - order->queues[i].tail;
    return count;
}

void kvs_order_free(struct kvs_order_queue *order, const struct kvs_host *host)
{
    for (uint32_t i = 0; i < KVS_TRACKS_MAX; i++) {
        if (order->queues[i].items != NULL) kvs_host_free(host, order->queues[i].items);
        memset(&order->queues[i], 0, sizeof order->queues[i]);
    }
}
