/* validate.h — the checks of a stream's configuration. */
#ifndef KVS_ENGINE_VALIDATE_H
#define KVS_ENGINE_VALIDATE_H

#include "kvspic.h"

/* KVS_OK, or the usage status of the first field that is wrong; texts and lists are read, nothing is kept. */
kvs_status validate_stream(const struct kvs_stream_config *config);

#endif
