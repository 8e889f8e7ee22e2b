/* fsm.h — the one form in which every state machine of the library is written, for all layers that have one.
 *
 * A machine is a table of edges: state x event -> next state and act. Facts of the world (a DescribeStream answer, a
 * timeout) are first classified into one event, so a table needs no conditions. An absent cell is not allowed: the
 * step returns KVS_E_STREAM_STATE and nothing moves. Acts are orders to the engine, carried out after the step.
 * The retry budget is not part of the step: it lives in machine/backoff.h and is shown by `spent`. */
#ifndef KVS_BASE_FSM_H
#define KVS_BASE_FSM_H

#include "kvspic.h"

struct kvs_edge {
    uint8_t next;
    uint8_t act; /* 0: the cell is absent */
};

struct kvs_fsm_table {
    const char *name;
    uint8_t state_count, event_count, act_count, initial;
    const struct kvs_edge *edges; /* state_count x event_count, row by row */
    const char *const *state_names;
    const char *const *event_names;
    const char *const *act_names;
    const kvs_status *spent; /* per state: the status when its retries are spent, 0 where there is no budget; or NULL */
};

/* The cell, or NULL when it is absent or outside the table. */
static inline const struct kvs_edge *kvs_fsm_edge(const struct kvs_fsm_table *fsm, uint32_t state, uint32_t event)
{
    if (state >= fsm->state_count || event >= fsm->event_count) return NULL;
    const struct kvs_edge *edge = &fsm->edges[(size_t)state * fsm->event_count + event];
    return edge->act != 0 ? edge : NULL;
}

/* Moves *state by event. KVS_OK and *act_out, or KVS_E_STREAM_STATE (also past the table's ends), nothing changed. */
static inline kvs_status kvs_fsm_move(const struct kvs_fsm_table *fsm, uint8_t *state, uint32_t event,
                                      uint32_t *act_out)
{
    const struct kvs_edge *edge = kvs_fsm_edge(fsm, *state, event);
    if (edge == NULL) return KVS_E_STREAM_STATE;
    *state = edge->next;
    *act_out = edge->act;
    return KVS_OK;
}

#endif
