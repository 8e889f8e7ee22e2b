/* machines.c — the list of all machines, and their introspection for documentation, diagrams and tests.
 *
 * The tables are the only source: whatever is drawn, checked or generated from Python comes from these functions. */
#include "machine/machines.h"

static const struct kvs_fsm_table *const MACHINES[KVS_MACHINE_COUNT] = {
    [KVS_MACHINE_CLIENT] = &kvs_client_fsm,
    [KVS_MACHINE_STREAM] = &kvs_stream_fsm,
    [KVS_MACHINE_UPLOAD] = &kvs_upload_fsm,
    [KVS_MACHINE_GENERATOR] = &kvs_generator_fsm,
};

static const struct kvs_fsm_table *machine_at(uint32_t machine)
{
    return machine < KVS_MACHINE_COUNT ? MACHINES[machine] : NULL;
}

kvs_status kvs_fsm_step(uint32_t machine, uint32_t state, uint32_t event, uint32_t *next_out, uint32_t *act_out)
{
    if (next_out == NULL || act_out == NULL) return KVS_E_NULL_ARG;
    const struct kvs_fsm_table *fsm = machine_at(machine);
    if (fsm == NULL || state >= fsm->state_count || event >= fsm->event_count) return KVS_E_MACHINE;
    uint8_t next = (uint8_t)state;
    kvs_status status = kvs_fsm_move(fsm, &next, event, act_out);
    if (status == KVS_OK) *next_out = next;
    return status;
}

/* A machine without a single `spent` status makes no calls, so it has no budget either. */
static uint32_t retries_max(const struct kvs_fsm_table *fsm)
{
    for (uint32_t i = 0; fsm->spent != NULL && i < fsm->state_count; i++) {
        if (fsm->spent[i] != KVS_OK) return KVS_RETRIES_MAX;
    }
    return 0;
}

kvs_status kvs_machine_info(uint32_t machine, struct kvs_machine_info *info_out)
{
    if (info_out == NULL) return KVS_E_NULL_ARG;
    const struct kvs_fsm_table *fsm = machine_at(machine);
    if (fsm == NULL) return KVS_E_MACHINE;
    *info_out = (struct kvs_machine_info){
        .name = fsm->name,
        .state_count = fsm->state_count,
        .event_count = fsm->event_count,
        .act_count = fsm->act_count,
        .initial = fsm->initial,
        .retries_max = retries_max(fsm),
    };
    return KVS_OK;
}

const char *kvs_machine_state_name(uint32_t machine, uint32_t state)
{
    const struct kvs_fsm_table *fsm = machine_at(machine);
    return fsm != NULL && state < fsm->state_count ? fsm->state_names[state] : NULL;
}

const char *kvs_machine_event_name(uint32_t machine, uint32_t event)
{
    const struct kvs_fsm_table *fsm = machine_at(machine);
    return fsm != NULL && event < fsm->event_count ? fsm->event_names[event] : NULL;
}

const char *kvs_machine_act_name(uint32_t machine, uint32_t act)
{
    const struct kvs_fsm_table *fsm = machine_at(machine);
    return fsm != NULL && act < fsm->act_count ? fsm->act_names[act] : NULL;
}

kvs_status kvs_machine_spent_status(uint32_t machine, uint32_t state)
{
    const struct kvs_fsm_table *fsm = machine_at(machine);
    if (fsm == NULL || state >= fsm->state_count) return KVS_E_MACHINE;
    return fsm->spent != NULL ? fsm->spent[state] : KVS_OK;
}
