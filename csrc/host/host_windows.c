/* host_windows.c — struct kvs_host for Windows; see kvs_host.h. Empty elsewhere.
 *
 * Windows has no socketpair, so the wake is a TCP connection over the loopback interface; select() and event loops
 * there watch sockets only. Links to ws2_32. */
#if defined(_WIN32)
#define _CRT_RAND_S /* rand_s, the system's generator */
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#if !defined(_WIN32_WINNT)
#define _WIN32_WINNT 0x0602 /* Windows 8: a precise wall clock */
#endif
#include <stdlib.h>
#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#include <windows.h>
#endif
#include "host/kvs_host.h"

#if defined(_WIN32)

struct kvs_host_wake {
    SOCKET read_socket, write_socket;
};

static void *host_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size > 0 ? size : 1);
}

static void host_free(void *ctx, void *block)
{
    (void)ctx;
    free(block);
}

static void *host_lock_new(void *ctx)
{
    (void)ctx;
    SRWLOCK *lock = malloc(sizeof(*lock));
    if (lock != NULL) InitializeSRWLock(lock);
    return lock;
}

static void host_lock(void *ctx, void *lock)
{
    (void)ctx;
    AcquireSRWLockExclusive(lock);
}

static void host_unlock(void *ctx, void *lock)
{
    (void)ctx;
    ReleaseSRWLockExclusive(lock);
}

static void host_lock_free(void *ctx, void *lock)
{
    (void)ctx;
    free(lock);
}

static uint32_t host_random(void *ctx)
{
    (void)ctx;
    unsigned int value = 0;
    (void)rand_s(&value);
    return value;
}

/* FILETIME counts the same 100 ns ticks, from the year 1601. */
#define TICKS_1601_TO_1970 UINT64_C(116444736000000000)

static INIT_ONCE started = INIT_ONCE_STATIC_INIT;
static uint64_t wall_less_monotonic_hns;

/* Whole seconds and the rest apart: the product of the whole count would not fit after some days of uptime. */
static uint64_t monotonic_hns(void)
{
    LARGE_INTEGER count, per_second;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_second);
    uint64_t ticks = (uint64_t)count.QuadPart, rate = (uint64_t)per_second.QuadPart;
    return ticks / rate * KVS_HNS_PER_SECOND + ticks % rate * KVS_HNS_PER_SECOND / rate;
}

static BOOL CALLBACK start(PINIT_ONCE once, PVOID parameter, PVOID *context)
{
    (void)once;
    (void)parameter;
    (void)context;
    FILETIME wall;
    GetSystemTimePreciseAsFileTime(&wall);
    uint64_t wall_hns = ((uint64_t)wall.dwHighDateTime << 32 | wall.dwLowDateTime) - TICKS_1601_TO_1970;
    wall_less_monotonic_hns = wall_hns - monotonic_hns();
    return TRUE;
}

uint64_t kvs_host_now_hns(void)
{
    InitOnceExecuteOnce(&started, start, NULL, NULL);
    return monotonic_hns() + wall_less_monotonic_hns;
}

static void host_wake(void *ctx)
{
    const struct kvs_host_wake *wake = ctx;
    DWORD kept = GetLastError();
    (void)send(wake->write_socket, "", 1, 0); /* full means readable already */
    SetLastError(kept);
}

static void close_socket(SOCKET socket_or_none)
{
    if (socket_or_none != INVALID_SOCKET) closesocket(socket_or_none);
}

static SOCKET listen_on_loopback(struct sockaddr_in *address)
{
    int size = sizeof(*address);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener != INVALID_SOCKET && bind(listener, (struct sockaddr *)address, size) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)address, &size) == 0) {
        return listener;
    }
    close_socket(listener);
    return INVALID_SOCKET;
}

/* Any program may connect to the listener: only a peer with our own writer's port is taken. */
static int connect_pair(SOCKET listener, const struct sockaddr_in *address, struct kvs_host_wake *wake)
{
    struct sockaddr_in ours, theirs;
    int ours_size = sizeof(ours), theirs_size = sizeof(theirs), on = 1;
    u_long non_blocking = 1;
    wake->write_socket = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    if (wake->write_socket == INVALID_SOCKET) return -1;
    if (connect(wake->write_socket, (const struct sockaddr *)address, sizeof(*address)) != 0) return -1;
    wake->read_socket = accept(listener, (struct sockaddr *)&theirs, &theirs_size);
    if (wake->read_socket == INVALID_SOCKET) return -1;
    if (getsockname(wake->write_socket, (struct sockaddr *)&ours, &ours_size) != 0) return -1;
    if (ours.sin_port != theirs.sin_port) return -1;
    if (setsockopt(wake->write_socket, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof(on)) != 0) return -1;
    if (ioctlsocket(wake->read_socket, (long)FIONBIO, &non_blocking) != 0) return -1;
    return ioctlsocket(wake->write_socket, (long)FIONBIO, &non_blocking) == 0 ? 0 : -1;
}

kvs_status kvs_host_wake_new(struct kvs_host_wake **out, intptr_t *read_fd_out)
{
    WSADATA data;
    struct sockaddr_in address;
    if (out == NULL || read_fd_out == NULL) return KVS_E_NULL_ARG;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) return KVS_E_HOST;
    struct kvs_host_wake *wake = malloc(sizeof(*wake));
    if (wake == NULL) {
        WSACleanup();
        return KVS_E_NOMEM;
    }
    *wake = (struct kvs_host_wake){ .read_socket = INVALID_SOCKET, .write_socket = INVALID_SOCKET };
    SOCKET listener = listen_on_loopback(&address);
    int is_made = listener != INVALID_SOCKET && connect_pair(listener, &address, wake) == 0;
    close_socket(listener);
    if (!is_made) {
        kvs_host_wake_free(wake);
        return KVS_E_HOST;
    }
    *out = wake;
    *read_fd_out = (intptr_t)wake->read_socket;
    return KVS_OK;
}

void kvs_host_wake_free(struct kvs_host_wake *wake)
{
    if (wake == NULL) return;
    close_socket(wake->read_socket);
    close_socket(wake->write_socket);
    free(wake);
    WSACleanup();
}

void kvs_host_init(struct kvs_host *host, struct kvs_host_wake *wake_or_null)
{
    *host = (struct kvs_host){
        .size = sizeof(*host),
        .ctx = wake_or_null,
        .alloc = host_alloc,
        .free = host_free,
        .lock_new = host_lock_new,
        .lock = host_lock,
        .unlock = host_unlock,
        .lock_free = host_lock_free,
        .random = host_random,
        .wake = wake_or_null != NULL ? host_wake : NULL,
    };
}
#endif
