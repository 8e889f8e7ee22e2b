/* host.c — the check of the host functions; the calls themselves are inline in host.h. */
#include "base/host.h"

kvs_status kvs_host_check(const struct kvs_host *host)
{
    if (host == NULL) return KVS_E_NULL_ARG;
    if (host->size != sizeof(*host)) return KVS_E_CONFIG_SIZE;
    if (host->alloc == NULL || host->free == NULL) return KVS_E_HOST;
    const int lock_functions =
        (host->lock_new != NULL) + (host->lock != NULL) + (host->unlock != NULL) + (host->lock_free != NULL);
    return lock_functions == 0 || lock_functions == 4 ? KVS_OK : KVS_E_HOST;
}
