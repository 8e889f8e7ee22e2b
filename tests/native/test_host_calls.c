/* base/host: incomplete host functions are refused by name; a host without locks is asked for none. */
#include <stdlib.h>

#include "base/host.h"
#include "check.h"

struct counts {
    int allocs, frees, locks, unlocks, wakes;
    int is_empty;
};

static void *host_alloc(void *ctx, size_t size)
{
    struct counts *counts = ctx;
    counts->allocs++;
    void *block = counts->is_empty ? NULL : malloc(size);
    if (block != NULL) memset(block, 0xA5, size);
    return block;
}

static void host_free(void *ctx, void *block)
{
    ((struct counts *)ctx)->frees++;
    free(block);
}

static void *host_lock_new(void *ctx)
{
    struct counts *counts = ctx;
    return counts->is_empty ? NULL : ctx;
}

static void host_lock(void *ctx, void *lock)
{
    CHECK(ctx == lock);
    ((struct counts *)ctx)->locks++;
}

static void host_unlock(void *ctx, void *lock)
{
    CHECK(ctx == lock);
    ((struct counts *)ctx)->unlocks++;
}

static void host_wake(void *ctx)
{
    ((struct counts *)ctx)->wakes++;
}

static struct kvs_host full_host(struct counts *counts)
{
    return (struct kvs_host){
        .size = sizeof(struct kvs_host), .ctx = counts, .alloc = host_alloc, .free = host_free,
        .lock_new = host_lock_new, .lock = host_lock, .unlock = host_unlock, .lock_free = host_lock,
        .wake = host_wake,
    };
}

static void test_check(void)
{
    struct counts counts = {0, 0, 0, 0, 0, 0};
    struct kvs_host host = full_host(&counts);
    CHECK_EQ(kvs_host_check(NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_host_check(&host), KVS_OK);
    host.size--;
    CHECK_EQ(kvs_host_check(&host), KVS_E_CONFIG_SIZE);
    host = full_host(&counts);
    host.free = NULL;
    CHECK_EQ(kvs_host_check(&host), KVS_E_HOST);
    host = full_host(&counts);
    host.unlock = NULL;
    CHECK_EQ(kvs_host_check(&host), KVS_E_HOST);
    host.lock_new = NULL;
    host.lock = NULL;
    host.lock_free = NULL;
    CHECK_EQ(kvs_host_check(&host), KVS_OK);
}

static void test_calls(void)
{
    struct counts counts = {0, 0, 0, 0, 0, 0};
    struct kvs_host host = full_host(&counts);
    void *lock = &lock;
    CHECK_EQ(kvs_host_lock_new(&host, &lock), KVS_OK);
    kvs_host_lock(&host, lock);
    kvs_host_unlock(&host, lock);
    CHECK_EQ(counts.locks, 1);
    CHECK_EQ(counts.unlocks, 1);
    uint8_t *block = kvs_host_alloc_zero(&host, 3);
    CHECK(block != NULL && block[0] == 0 && block[2] == 0);
    kvs_host_free(&host, block);
    kvs_host_free(&host, NULL);
    CHECK_EQ(counts.frees, 1);
    kvs_host_wake(&host);
    CHECK_EQ(counts.wakes, 1);
    counts.is_empty = 1;
    CHECK(kvs_host_alloc_zero(&host, 3) == NULL);
    CHECK_EQ(kvs_host_lock_new(&host, &lock), KVS_E_NOMEM);
    CHECK(lock == NULL);
}

static void test_without_locks(void)
{
    struct counts counts = {0, 0, 0, 0, 0, 1};
    struct kvs_host host = {.size = sizeof(host), .ctx = &counts, .alloc = host_alloc, .free = host_free};
    void *lock = &lock;
    CHECK_EQ(kvs_host_lock_new(&host, &lock), KVS_OK);
    CHECK(lock == NULL);
    kvs_host_lock(&host, lock);
    kvs_host_unlock(&host, lock);
    kvs_host_lock_free(&host, lock);
    kvs_host_wake(&host);
    CHECK_EQ(counts.locks + counts.unlocks + counts.wakes, 0);
}

int main(void)
{
    test_check();
    test_calls();
    test_without_locks();
    return CHECK_DONE();
}
