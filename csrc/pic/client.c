/* client.c — a client's life: making it, its host functions, freeing it. */
#include "pic/adapter.h"

#include <string.h>

#include "host/kvs_host.h"

#define CLOCK_STEP_HNS HUNDREDS_OF_NANOS_IN_A_SECOND

/* ---- host functions: the callbacks of the program in the shape that the core asks for -------------------------- */

static void *lock_new(void *ctx)
{
    struct pic_client *client = ctx;
    return (void *)(uintptr_t)client->callbacks.createMutexFn(client->callbacks.customData, FALSE);
}

static void lock(void *ctx, void *mutex)
{
    struct pic_client *client = ctx;
    client->callbacks.lockMutexFn(client->callbacks.customData, (MUTEX)(uintptr_t)mutex);
}

static void unlock(void *ctx, void *mutex)
{
    struct pic_client *client = ctx;
    client->callbacks.unlockMutexFn(client->callbacks.customData, (MUTEX)(uintptr_t)mutex);
}

static void lock_free(void *ctx, void *mutex)
{
    struct pic_client *client = ctx;
    client->callbacks.freeMutexFn(client->callbacks.customData, (MUTEX)(uintptr_t)mutex);
}

static uint32_t random_number(void *ctx)
{
    struct pic_client *client = ctx;
    return client->callbacks.getRandomNumberFn(client->callbacks.customData);
}

static void wake(void *ctx)
{
    struct pic_client *client = ctx;
    atomic_store(&client->woken, 1u);
}

static void set_locks(struct kvs_host *host)
{
    host->lock_new = lock_new;
    host->lock = lock;
    host->unlock = unlock;
    host->lock_free = lock_free;
}

/* The ready-made functions do not use ctx. Where the program brings no locks, the core and the objects have those of
 * the host. */
static void set_host(struct pic_client *client, int has_locks)
{
    struct kvs_host base = client->host;
    client->host.ctx = client;
    if (has_locks) set_locks(&client->host);
    client->host.random = client->callbacks.getRandomNumberFn != NULL ? random_number : base.random;
    client->host.wake = wake;
}

/* Whether the program brings its own. */
static int default_sync(ClientCallbacks *callbacks)
{
    int has_all = callbacks->createMutexFn != NULL && callbacks->lockMutexFn != NULL &&
                  callbacks->unlockMutexFn != NULL && callbacks->freeMutexFn != NULL &&
                  callbacks->createConditionVariableFn != NULL && callbacks->broadcastConditionVariableFn != NULL &&
                  callbacks->waitConditionVariableFn != NULL && callbacks->freeConditionVariableFn != NULL;
    if (has_all) return 1;
    callbacks->createMutexFn = kinesisVideoStreamDefaultCreateMutex;
    callbacks->lockMutexFn = kinesisVideoStreamDefaultLockMutex;
    callbacks->unlockMutexFn = kinesisVideoStreamDefaultUnlockMutex;
    callbacks->freeMutexFn = kinesisVideoStreamDefaultFreeMutex;
    callbacks->createConditionVariableFn = kinesisVideoStreamDefaultCreateConditionVariable;
    callbacks->broadcastConditionVariableFn = kinesisVideoStreamDefaultBroadcastConditionVariable;
    callbacks->waitConditionVariableFn = kinesisVideoStreamDefaultWaitConditionVariable;
    callbacks->freeConditionVariableFn = kinesisVideoStreamDefaultFreeConditionVariable;
    return 0;
}

/* ---- what the other files use ---------------------------------------------------------------------------------- */

void pic_lock(struct pic_client *client) { client->callbacks.lockMutexFn(client->callbacks.customData, client->lock); }
void pic_unlock(struct pic_client *client)
{
    client->callbacks.unlockMutexFn(client->callbacks.customData, client->lock);
}

void pic_broadcast(struct pic_client *client)
{
    (void)client->callbacks.broadcastConditionVariableFn(client->callbacks.customData, client->changed);
}

/* A program's clock may be set back. The core's time goes on from where it was, so that no call waits for the clock to
 * catch up. A difference of less than a step comes from two threads that read the clock at once. `ahead` is read before
 * the clock, so a thread that sees the new `ahead` also sees the new clock. */
uint64_t pic_now(struct pic_client *client)
{
    if (client->callbacks.getCurrentTimeFn == NULL) return kvs_host_now_hns(); /* which is never set back */
    uint64_t ahead_hns = atomic_load(&client->ahead_hns);
    uint64_t now_hns = client->callbacks.getCurrentTimeFn(client->callbacks.customData) + ahead_hns;
    uint64_t last_hns = atomic_load(&client->last_now_hns);
    while (now_hns > last_hns && !atomic_compare_exchange_weak(&client->last_now_hns, &last_hns, now_hns)) {}
    if (now_hns >= last_hns) return now_hns;
    if (last_hns - now_hns >= CLOCK_STEP_HNS)
        (void)atomic_compare_exchange_strong(&client->ahead_hns, &ahead_hns, ahead_hns + (last_hns - now_hns));
    return last_hns;
}

uint64_t pic_clock_of(struct pic_client *client, uint64_t time_hns)
{
    uint64_t ahead_hns = atomic_load(&client->ahead_hns);
    return time_hns == KVS_TIME_NONE || time_hns < ahead_hns ? time_hns : time_hns - ahead_hns;
}

uint64_t pic_time_of(struct pic_client *client, uint64_t clock_hns)
{
    uint64_t ahead_hns = atomic_load(&client->ahead_hns);
    return clock_hns > KVS_TIME_NONE - ahead_hns ? KVS_TIME_NONE : clock_hns + ahead_hns;
}

void pic_random_name(struct pic_client *client, char *name, uint32_t size)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (uint32_t i = 0; i < size; i++) name[i] = letters[client->host.random(client->host.ctx) % 36u];
    name[size] = 0;
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

void pic_client_destroy(struct pic_client *client)
{
    struct kvs_host host = client->host;
    kvs_client_free(client->core);
    if (client->has_strategy)
        (void)client->device.clientInfo.kvsRetryStrategyCallbacks.freeRetryStrategyFn(&client->strategy);
    pic_auth_release(client, client->token);
    pic_auth_release(client, client->certificate);
    while (client->object.first != NULL) pic_recycle(client, pic_pop(client, &client->object));
    if (client->parked != NULL) pic_recycle(client, client->parked);
    while (client->free_nodes != NULL) {
        struct pic_node *node = client->free_nodes;
        client->free_nodes = node->next;
        host.free(host.ctx, node);
    }
    kvs_host_free(&host, client->device.tags);
    kvs_host_free(&host, client->names);
    if (client->changed != NULL)
        client->callbacks.freeConditionVariableFn(client->callbacks.customData, client->changed);
    kvs_host_lock_free(&client->host, client->object.lock);
    if (client->lock != 0) client->callbacks.freeMutexFn(client->callbacks.customData, client->lock);
    if (client->object.slot != NULL) pic_slot_free(client->object.slot);
    host.free(host.ctx, client);
}

static STATUS make_strategy(struct pic_client *client)
{
    const KvsRetryStrategyCallbacks *plug = &client->device.clientInfo.kvsRetryStrategyCallbacks;
    if (plug->createRetryStrategyFn == NULL || plug->executeRetryStrategyFn == NULL ||
        plug->freeRetryStrategyFn == NULL || plug->getCurrentRetryAttemptNumberFn == NULL)
        return STATUS_SUCCESS;
    client->strategy = client->device.clientInfo.kvsRetryStrategy;
    STATUS status = plug->createRetryStrategyFn(&client->strategy);
    client->has_strategy = STATUS_SUCCEEDED(status);
    return status;
}

static STATUS make_core(struct pic_client *client)
{
    struct kvs_client_config config = { .size = sizeof config };
    config.stream_count_max = client->device.streamCount;
    config.store_max = client->device.storageInfo.storageSize;
    config.client_id = client->device.clientId[0] != 0 ? client->device.clientId : NULL;
    config.seed = pic_now(client);
    return pic_status_of(kvs_client_new(&client->host, &config, pic_now(client), &client->core));
}

static STATUS set_up(struct pic_client *client, const DeviceInfo *device)
{
    STATUS status = pic_copy_tags(client, device->tagCount, device->tags, &client->device.tags);
    if (STATUS_FAILED(status)) return status;
    client->lock = client->callbacks.createMutexFn(client->callbacks.customData, FALSE);
    if (client->lock != 0) (void)kvs_host_lock_new(&client->host, &client->object.lock);
    if (client->object.lock != NULL)
        client->changed = client->callbacks.createConditionVariableFn(client->callbacks.customData);
    if (client->changed == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    status = make_strategy(client);
    if (STATUS_FAILED(status)) return status;
    client->object.slot = pic_slot_new(PIC_KIND_CLIENT, client, &client->object.handle);
    return client->object.slot == NULL ? STATUS_NOT_ENOUGH_MEMORY : make_core(client);
}

static STATUS make(const DeviceInfo *device, const ClientCallbacks *callbacks, struct pic_client **out)
{
    struct kvs_host host;
    kvs_host_init(&host, NULL);
    struct pic_client *client = host.alloc(host.ctx, sizeof *client);
    if (client == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    memset(client, 0, sizeof *client);
    client->host = host;
    client->callbacks = *callbacks;
    set_host(client, default_sync(&client->callbacks));
    atomic_init(&client->woken, 0u);
    atomic_init(&client->deadline_hns, KVS_TIME_NONE);
    atomic_init(&client->last_now_hns, 0);
    atomic_init(&client->ahead_hns, 0);
    atomic_init(&client->is_scarce, 0u);
    atomic_init(&client->object.room_count, 0);
    pic_copy_device(client, device);
    client->object.is_creating = 1;
    client->later_hns = KVS_TIME_NONE;
    client->object.is_draining = 1;
    STATUS status = set_up(client, device);
    if (STATUS_FAILED(status)) pic_client_destroy(client);
    else *out = client;
    return status;
}

static STATUS failure_of(struct pic_client *client)
{
    return STATUS_FAILED(client->object.failure) && STATUS_FAILED(client->source_status) ? client->source_status
                                                                                  : client->object.failure;
}

static STATUS create(PDeviceInfo device, PClientCallbacks callbacks, PCLIENT_HANDLE out, int is_sync)
{
    struct pic_client *client = NULL;
    if (out == NULL || device == NULL || callbacks == NULL) return STATUS_NULL_ARG;
    *out = INVALID_CLIENT_HANDLE_VALUE;
    STATUS status = pic_check_device(device);
    if (STATUS_SUCCEEDED(status)) status = pic_check_callbacks(callbacks, device->tagCount);
    if (STATUS_SUCCEEDED(status)) status = make(device, callbacks, &client);
    if (STATUS_FAILED(status)) return status;
    CLIENT_HANDLE handle = client->object.handle;
    pic_slot_hold(client->object.slot);
    *out = handle;
    pic_drain(client, &client->object);
    pic_lock(client);
    if (is_sync) status = pic_await_ready(client, &client->object, client->device.clientInfo.createClientTimeout);
    if (client->object.failure != STATUS_SUCCESS) status = failure_of(client);
    if (client->object.is_closing) status = STATUS_CLIENT_SHUTTING_DOWN;
    client->object.is_creating = 0;
    pic_unlock(client);
    pic_client_release(client);
    if (STATUS_FAILED(status)) freeKinesisVideoClient(out);
    return status;
}

STATUS createKinesisVideoClient(PDeviceInfo pDeviceInfo, PClientCallbacks pClientCallbacks,
                                PCLIENT_HANDLE pClientHandle)
{
    return create(pDeviceInfo, pClientCallbacks, pClientHandle, 0);
}

STATUS createKinesisVideoClientSync(PDeviceInfo pDeviceInfo, PClientCallbacks pClientCallbacks,
                                    PCLIENT_HANDLE pClientHandle)
{
    return create(pDeviceInfo, pClientCallbacks, pClientHandle, 1);
}

/* ---- freeing --------------------------------------------------------------------------------------------------- */

/* The next stream whose end is to be reported, held; NULL when there is none. */
static struct pic_stream *next_unreported(struct pic_client *client)
{
    pic_lock(client);
    struct pic_stream *stream = client->streams;
    while (stream != NULL && !pic_claim_shutdown(stream)) stream = stream->next;
    if (stream != NULL) pic_slot_hold(stream->object.slot);
    pic_unlock(client);
    return stream;
}

static void report_shutdown(struct pic_client *client)
{
    struct pic_stream *stream = NULL;
    struct pic_scope scope;
    while ((stream = next_unreported(client)) != NULL) {
        pic_report_shutdown(stream, FALSE);
        pic_stream_release(stream);
    }
    pic_scope_enter(&scope, client);
    if (client->callbacks.clientShutdownFn != NULL)
        (void)client->callbacks.clientShutdownFn(client->callbacks.customData, client->object.handle);
    pic_scope_leave(&scope);
}

static UINT64 first_open(struct pic_client *client)
{
    pic_lock(client);
    struct pic_stream *stream = client->streams;
    while (stream != NULL && pic_slot_is_closed(stream->object.slot)) stream = stream->next;
    UINT64 handle = stream != NULL ? stream->object.handle : 0;
    pic_unlock(client);
    return handle;
}

static void close_streams(struct pic_client *client)
{
    UINT64 handle = 0;
    while ((handle = first_open(client)) != 0) {
        struct pic_stream *stream = pic_close(handle, PIC_KIND_STREAM);
        if (stream != NULL) pic_stream_close(stream);
    }
}

STATUS freeKinesisVideoClient(PCLIENT_HANDLE pClientHandle)
{
    void *object = NULL;
    if (pClientHandle == NULL || !pic_take_handle(pClientHandle, PIC_KIND_CLIENT, &object)) return STATUS_NULL_ARG;
    if (object == NULL) return STATUS_SUCCESS;
    struct pic_client *client = object;
    pic_lock(client);
    client->object.is_closing = 1;
    pic_broadcast(client);
    pic_unlock(client);
    report_shutdown(client);
    close_streams(client);
    pic_let_go(client, &client->object, 1);
    return STATUS_SUCCESS;
}

/* The first from here on that can be stopped, held. One that is still being made has no core yet. */
static struct pic_stream *held(struct pic_stream *stream)
{
    while (stream != NULL && stream->core == NULL) stream = stream->next;
    if (stream != NULL) pic_slot_hold(stream->object.slot);
    return stream;
}

STATUS stopKinesisVideoStreams(CLIENT_HANDLE clientHandle)
{
    struct pic_call call;
    STATUS status = pic_enter_client(clientHandle, &call);
    if (STATUS_FAILED(status)) return status;
    pic_lock(call.client);
    struct pic_stream *stream = held(call.client->streams);
    pic_unlock(call.client);
    while (stream != NULL) {
        STATUS stopped = stopKinesisVideoStream(stream->object.handle);
        if (STATUS_SUCCEEDED(status) && stopped != STATUS_NULL_ARG)
            status = stopped; /* freed meanwhile is stopped too */
        pic_lock(call.client);
        struct pic_stream *next = held(stream->next);
        pic_unlock(call.client);
        pic_stream_release(stream);
        stream = next;
    }
    return pic_leave(&call, status);
}
