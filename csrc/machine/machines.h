/* machines.h — the tables of all state machines, by name. */
#ifndef KVS_MACHINE_MACHINES_H
#define KVS_MACHINE_MACHINES_H

#include "base/fsm.h"

extern const struct kvs_fsm_table kvs_client_fsm;
extern const struct kvs_fsm_table kvs_stream_fsm;
extern const struct kvs_fsm_table kvs_upload_fsm;
extern const struct kvs_fsm_table kvs_generator_fsm; /* csrc/media/generator_fsm.c */

#endif
