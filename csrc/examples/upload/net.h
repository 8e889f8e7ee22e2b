/* net.h — the network layer of a camera over pic.h: control plane and PutMedia on one thread, by libcurl and OpenSSL.
 *
 * net_start makes the thread and sets all callbacks (add others after it). They only note what is wanted, and the
 * thread does it and keeps the deadlines of the library. One net serves one client with any number of streams. */
#ifndef KVSPIC_EXAMPLE_NET_H
#define KVSPIC_EXAMPLE_NET_H

#include "pic.h"

#define now_ticks() kinesisVideoStreamDefaultGetCurrentTime(0) /* 100 ns since 1970: the clock of the library */

struct net_config { /* strings are borrowed for as long as the net lives */
    const char *endpoint;   /* control plane: https://kinesisvideo.REGION.amazonaws.com, http://127.0.0.1:8080 */
    const char *region;
    const char *access_key, *secret_key, *session_token; /* no access_key: not signed, which a local endpoint takes */
    const char *ca_file;    /* PEM; NULL: the certificates that the system trusts */
};
struct net;
struct net *net_start(const struct net_config *config, ClientCallbacks *callbacks); /* NULL: no memory or no thread */
void net_stop(struct net *net); /* after freeKinesisVideoClient: cuts what is open, joins the thread, frees */

/* sigv4.c: values of the headers X-Amz-Date, X-Amz-Content-Sha256 and Authorization of AWS Signature Version 4. body
 * NULL: the payload is not signed (PutMedia, whose body does not exist yet). Returns 0, or -1: a text is too long. */
struct sigv4 {
    char date[24], payload[72], authorization[512];
};
int sigv4_sign(struct sigv4 *out, const struct net_config *config, const char *url, const char *body);

#endif
