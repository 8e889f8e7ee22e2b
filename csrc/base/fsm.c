/* fsm.c — the step that all machines share. */
#include "base/fsm.h"

#include <stddef.h>

/* The cell, or NULL when it is absent or outside the table. */
static const struct kvs_edge *edge_at(const struct kvs_fsm_table *fsm, uint32_t state, uint32_t event)
{
    if (state >= fsm->state_count || event >= fsm->event_count) return NULL;
    const struct kvs_edge *edge = &fsm->edges[(size_t)state * fsm->event_count + event];
    return edge->act != 0 ? edge : NULL;
}

int kvs_fsm_allows(const struct kvs_fsm_table *fsm, uint32_t state, uint32_t event)
{
    return edge_at(fsm, state, event) != NULL;
}

kvs_status kvs_fsm_move(const struct kvs_fsm_table *fsm, uint8_t *state, uint32_t event, uint32_t *act_out)
{
    const struct kvs_edge *edge = edge_at(fsm, *state, event);
    if (edge == NULL) return KVS_E_STREAM_STATE;
    *state = edge->next;
    *act_out = edge->act;
    return KVS_OK;
}
