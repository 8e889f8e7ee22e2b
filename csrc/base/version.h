/* version.h — the library's version, once: kvs_version() returns it and the MKV header names it. */
#ifndef KVS_BASE_VERSION_H
#define KVS_BASE_VERSION_H

#ifndef KVS_VERSION
#define KVS_VERSION "0.1.0"
#endif

#endif
