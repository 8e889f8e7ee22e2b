/* flag.h — a byte that is written under a lock and may be looked at without it. The look orders nothing: it says only
 * whether taking the lock is worth while, or what the locks that are held already order. */
#ifndef KVS_BASE_FLAG_H
#define KVS_BASE_FLAG_H

#include <stdint.h>

static inline int kvs_flag_get(const uint8_t *flag)
{
#if defined(__GNUC__)
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
#else
    return *(const volatile uint8_t *)flag;
#endif
}

static inline void kvs_flag_set(uint8_t *flag, uint8_t value)
{
#if defined(__GNUC__)
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
#else
    *(volatile uint8_t *)flag = value;
#endif
}

#endif
