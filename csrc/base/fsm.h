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

/* Moves *state by event. KVS_OK and *act_out, or KVS_E_STREAM_STATE (also past the table's ends), nothing changed. */
kvs_status kvs_fsm_move(const struct kvs_fsm_table *fsm, uint8_t *state, uint32_t event, uint32_t *act_out);

/* 1 where the cell exists. A deadline counts only in states that allow its event: one that passed while its event is
 * not allowed would otherwise be reported, poked and refused for ever. */
int kvs_fsm_allows(const struct kvs_fsm_table *fsm, uint32_t state, uint32_t event);

#endif
