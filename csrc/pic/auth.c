/* auth.c — credentials: kept here, for ServiceCallContext.pAuthInfo; the core knows only when they expire.
 *
 * A set of credentials never changes once it is shared; a new one takes its place, and who uses the old one keeps it
 * until the callback returns. */
#include "pic/adapter.h"

#include <string.h>

STATUS pic_auth_new(struct pic_client *client, AUTH_INFO_TYPE type, PBYTE bytes, UINT32 size, UINT64 expiration,
                    struct pic_auth **out)
{
    if (size > MAX_AUTH_LEN) return STATUS_INVALID_AUTH_LEN;
    struct pic_auth *auth = client->host.alloc(client->host.ctx, sizeof *auth);
    if (auth == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    int is_none = bytes == NULL || size == 0;
    memset(auth, 0, sizeof *auth);
    atomic_init(&auth->references, 1u);
    auth->info.version = AUTH_INFO_CURRENT_VERSION;
    auth->info.type = is_none ? AUTH_INFO_NONE : type;
    auth->info.size = is_none ? 0 : size;
    auth->info.expiration = expiration;
    if (!is_none) memcpy(auth->info.data, bytes, size);
    *out = auth;
    return STATUS_SUCCESS;
}

void pic_auth_release(struct pic_client *client, struct pic_auth *auth)
{
    if (auth == NULL || atomic_fetch_sub(&auth->references, 1u) != 1u) return;
    memset(&auth->info, 0, sizeof auth->info); /* a token is not left lying about */
    client->host.free(client->host.ctx, auth);
}

struct pic_auth *pic_auth_hold(struct pic_client *client, struct pic_auth *const *place)
{
    pic_lock(client);
    struct pic_auth *auth = *place;
    if (auth != NULL) atomic_fetch_add(&auth->references, 1u);
    pic_unlock(client);
    return auth;
}

void pic_auth_replace(struct pic_client *client, struct pic_auth **place, struct pic_auth *auth)
{
    pic_lock(client);
    struct pic_auth *old = *place;
    *place = auth;
    pic_unlock(client);
    pic_auth_release(client, old);
}

/* ---- where the client's credentials come from ------------------------------------------------------------------ */

static void note_source(struct pic_client *client, STATUS status)
{
    pic_lock(client);
    client->source_status = status;
    pic_unlock(client);
}

/* Asks one source, for a token or a certificate. 0 when it has none; else *answer says what came of it. */
static int ask(struct pic_client *client, int is_token, struct pic_answer *answer)
{
    PBYTE bytes = NULL;
    UINT32 size = 0;
    UINT64 expiration = INVALID_TIMESTAMP_VALUE;
    struct pic_auth *auth = NULL;
    GetSecurityTokenFunc source = is_token ? client->callbacks.getSecurityTokenFn
                                           : client->callbacks.getDeviceCertificateFn;
    if (source == NULL) return 0;
    STATUS status = source(client->callbacks.customData, &bytes, &size, &expiration);
    if (STATUS_SUCCEEDED(status) && (bytes == NULL || size == 0)) return 0;
    AUTH_INFO_TYPE type = is_token ? AUTH_INFO_TYPE_STS : AUTH_INFO_TYPE_CERT;
    if (STATUS_SUCCEEDED(status)) status = pic_auth_new(client, type, bytes, size, expiration, &auth);
    note_source(client, status);
    answer->result = SERVICE_CALL_AUTH_FAILURE;
    answer->auth = KVS_AUTH_NONE;
    if (STATUS_FAILED(status)) return 1;
    pic_auth_replace(client, is_token ? &client->token : &client->certificate, auth);
    answer->result = SERVICE_CALL_RESULT_OK;
    answer->auth = is_token ? KVS_AUTH_TOKEN : KVS_AUTH_CERTIFICATE;
    answer->expires_hns = expiration;
    return 1;
}

void pic_get_credentials(struct pic_client *client)
{
    struct pic_answer answer = { .result = SERVICE_CALL_RESULT_OK,
                                 .auth = KVS_AUTH_MISSING,
                                 .expires_hns = KVS_TIME_NONE };
    note_source(client, STATUS_SUCCESS);
    if (!ask(client, 1, &answer)) (void)ask(client, 0, &answer);
    (void)pic_answer(client, &client->object, KVS_ACTION_GET_CREDENTIALS, &answer);
}

/* There is no service that provisions devices: the fingerprint is asked for once, and each try then fails. */
void pic_provision(struct pic_client *client)
{
    PCHAR fingerprint = NULL;
    struct pic_answer answer = { .result = SERVICE_CALL_UNKNOWN, .expires_hns = KVS_TIME_NONE };
    if (!client->has_fingerprint && client->callbacks.getDeviceFingerprintFn != NULL) {
        STATUS status = client->callbacks.getDeviceFingerprintFn(client->callbacks.customData, &fingerprint);
        if (STATUS_SUCCEEDED(status) && fingerprint != NULL &&
            memchr(fingerprint, 0, MAX_DEVICE_FINGERPRINT_LENGTH + 1u) == NULL) {
            status = STATUS_DEVICE_FINGERPRINT_LENGTH;
        }
        note_source(client, status);
    }
    client->has_fingerprint = 1;
    (void)pic_answer(client, &client->object, KVS_ACTION_PROVISION, &answer);
}
