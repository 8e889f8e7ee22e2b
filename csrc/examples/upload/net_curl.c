/* net_curl.c — net.h over libcurl's multi interface (7.84 or later).
 *
 * The callbacks of the library run on whatever thread called it: they put a request into a list and wake the network
 * thread, which alone touches libcurl. PutMedia is one POST without an end: libcurl asks send_media for bytes and is
 * paused while there are none, and fragment ACKs are parsed while it sends. The library does all retries. */
#define _GNU_SOURCE /* vasprintf, open_memstream */
#include <curl/curl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define POLL_MS_MAX 1000
#define TICKS_PER_MS HUNDREDS_OF_NANOS_IN_A_MILLISECOND

enum call { CALL_DESCRIBE, CALL_CREATE, CALL_TAG, CALL_ENDPOINT, CALL_PUT };

struct request {
    struct request *next;
    struct net *net;
    enum call call;
    UINT64 custom; /* the stream, as the library names it in results */
    UINT64 due;    /* ticks of the wall clock: not to be sent before */
    long timeout_ms, connect_ms;
    char url[1024], *body; /* body NULL: PutMedia */
    CURL *easy;            /* NULL: waits until it is due */
    struct curl_slist *headers;
    char answer[16384];    /* of a control call, or of a refused PutMedia */
    size_t answer_size;
    UPLOAD_HANDLE upload;
    int is_open, is_paused, is_ended;
    atomic_int is_wanted;  /* the library has bytes for the upload */
};

struct net {
    struct net_config config;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock;     /* guards requests; never held while libcurl or the library is called */
    struct request *requests; /* all that wait or run */
    UPLOAD_HANDLE uploads;    /* how many there were */
    _Atomic UINT64 client;
    atomic_int is_stopping;
};

static void request_free(struct request *request)
{
    if (request->easy != NULL) {
        curl_multi_remove_handle(request->net->multi, request->easy);
        curl_easy_cleanup(request->easy);
    }
    curl_slist_free_all(request->headers);
    free(request->body);
    free(request);
}

static void header(struct request *request, const char *format, ...)
{
    char line[6000]; /* a session token has up to 4 KB */
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    struct curl_slist *headers = curl_slist_append(request->headers, line);
    if (headers != NULL) request->headers = headers;
}

/* NULL: no memory, or a URL that is too long. */
static struct request *request_new(UINT64 custom, enum call call, PServiceCallContext context, const char *base,
                                   const char *path)
{
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL) return NULL;
    request->net = (struct net *)(uintptr_t)custom;
    request->call = call;
    request->custom = context->customData;
    request->due = context->callAfter;
    request->timeout_ms = call == CALL_PUT ? 0 : (long)(context->timeout / TICKS_PER_MS);
    request->connect_ms = (long)(context->connectionTimeout / TICKS_PER_MS);
    if (snprintf(request->url, sizeof request->url, "%s/%s", base, path) < (int)sizeof request->url) return request;
    free(request);
    return NULL;
}

static STATUS queue(struct request *request)
{
    struct net *net = request->net;
    pthread_mutex_lock(&net->lock);
    request->upload = request->call == CALL_PUT ? ++net->uploads : 0;
    request->next = net->requests;
    net->requests = request;
    pthread_mutex_unlock(&net->lock);
    curl_multi_wakeup(net->multi);
    return STATUS_SUCCESS;
}

/* A request to the control plane with a JSON body. */
static STATUS control(UINT64 custom, enum call call, PServiceCallContext context, const char *format, ...)
{
    static const char *const paths[] = { "describeStream", "createStream", "tagStream", "getDataEndpoint" };
    const char *endpoint = ((struct net *)(uintptr_t)custom)->config.endpoint;
    struct request *request = request_new(custom, call, context, endpoint, paths[call]);
    va_list values;
    if (request == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    va_start(values, format);
    const int size = vasprintf(&request->body, format, values);
    va_end(values);
    header(request, "Content-Type: application/json");
    if (size >= 0) return queue(request);
    request->body = NULL;
    request_free(request);
    return STATUS_NOT_ENOUGH_MEMORY;
}

/* What the library calls. The service allows no character in names, types and tags that JSON would quote. */

static STATUS describe_stream(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    return control(custom, CALL_DESCRIBE, context, "{\"StreamName\":\"%s\"}", name);
}

static STATUS create_stream(UINT64 custom, PCHAR device, PCHAR name, PCHAR type, PCHAR key, UINT64 retention,
                            PServiceCallContext context)
{
    const int has_key = key != NULL && key[0] != 0;
    (void)device;
    return control(custom, CALL_CREATE, context,
                   "{\"StreamName\":\"%s\",\"MediaType\":\"%s\",\"DataRetentionInHours\":%llu%s%s%s}", name, type,
                   (unsigned long long)(retention / HUNDREDS_OF_NANOS_IN_AN_HOUR), has_key ? ",\"KmsKeyId\":\"" : "",
                   has_key ? key : "", has_key ? "\"" : "");
}

static STATUS tag_stream(UINT64 custom, PCHAR arn, UINT32 count, PTag tags, PServiceCallContext context)
{
    char *list = NULL;
    size_t size;
    FILE *to = open_memstream(&list, &size);
    for (UINT32 i = 0; to != NULL && i < count; i++)
        fprintf(to, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", tags[i].name, tags[i].value);
    if (to == NULL || fclose(to) != 0) return STATUS_NOT_ENOUGH_MEMORY;
    STATUS status = control(custom, CALL_TAG, context, "{\"StreamARN\":\"%s\",\"Tags\":{%s}}", arn, list);
    free(list);
    return status;
}

static STATUS find_endpoint(UINT64 custom, PCHAR name, PCHAR api, PServiceCallContext context)
{
    return control(custom, CALL_ENDPOINT, context, "{\"StreamName\":\"%s\",\"APIName\":\"%s\"}", name, api);
}

static STATUS client_ready(UINT64 custom, CLIENT_HANDLE client)
{
    atomic_store(&((struct net *)(uintptr_t)custom)->client, client); /* whose deadlines the thread keeps */
    return STATUS_SUCCESS;
}

static STATUS create_device(UINT64 custom, PCHAR name, PServiceCallContext context)
{
    (void)custom; /* the service has no devices */
    return createDeviceResultEvent(context->customData, SERVICE_CALL_RESULT_OK, name);
}

/* Each request is signed on its own: the library has no credentials to hand round, so theirs never expire. */
static BYTE signed_here[] = "signed";

static STATUS security_token(UINT64 custom, PBYTE *token, PUINT32 size, PUINT64 expiration)
{
    (void)custom;
    *token = signed_here;
    *size = (UINT32)sizeof signed_here;
    *expiration = INVALID_TIMESTAMP_VALUE;
    return STATUS_SUCCESS;
}

static STATUS find_token(UINT64 custom, PCHAR name, STREAM_ACCESS_MODE mode, PServiceCallContext context)
{
    (void)custom, (void)name, (void)mode;
    return getStreamingTokenResultEvent(context->customData, SERVICE_CALL_RESULT_OK, signed_here,
                                        (UINT32)sizeof signed_here, INVALID_TIMESTAMP_VALUE);
}

static STATUS put_stream(UINT64 custom, PCHAR name, PCHAR container, UINT64 start, BOOL is_absolute, BOOL wants_acks,
                         PCHAR endpoint, PServiceCallContext context)
{
    const unsigned long long ms = start / TICKS_PER_MS;
    struct request *request = request_new(custom, CALL_PUT, context, endpoint, "putMedia");
    (void)container;
    if (request == NULL) return STATUS_NOT_ENOUGH_MEMORY;
    header(request, "Transfer-Encoding: chunked");
    header(request, "x-amzn-stream-name: %s", name);
    header(request, "x-amzn-producer-start-timestamp: %llu.%03llu", ms / 1000, ms % 1000);
    header(request, "x-amzn-fragment-timecode-type: %s", is_absolute ? "ABSOLUTE" : "RELATIVE");
    header(request, "x-amzn-fragment-acknowledgment-required: %d", wants_acks ? 1 : 0);
    return queue(request);
}

/* The upload has bytes, or is over: the thread reads. */
static STATUS data_available(UINT64 custom, STREAM_HANDLE stream, PCHAR name, UPLOAD_HANDLE upload, UINT64 duration,
                             UINT64 size)
{
    struct net *net = (struct net *)(uintptr_t)custom;
    (void)stream, (void)name, (void)duration, (void)size;
    pthread_mutex_lock(&net->lock);
    for (struct request *request = net->requests; request != NULL; request = request->next)
        if (request->call == CALL_PUT && request->upload == upload) atomic_store(&request->is_wanted, 1);
    pthread_mutex_unlock(&net->lock);
    curl_multi_wakeup(net->multi);
    return STATUS_SUCCESS;
}

/* Errors of the service by name first: several of them come with HTTP 400. What is busy or full for now is 503. */
static SERVICE_CALL_RESULT result_of(const struct request *request, CURLcode code, const char *error)
{
    long http = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &http);
    if (strstr(error, "ResourceNotFoundException")) return SERVICE_CALL_RESOURCE_NOT_FOUND;
    if (strstr(error, "ResourceInUseException")) return SERVICE_CALL_RESOURCE_IN_USE;
    if (strstr(error, "AccountStreamLimitExceeded")) return SERVICE_CALL_STREAM_LIMIT;
    if (strstr(error, "LimitExceeded") || strstr(error, "Throttling")) return SERVICE_CALL_SERVICE_UNAVAILABLE;
    if (code == CURLE_OK && http != 0) return (SERVICE_CALL_RESULT)http;
    if (code == CURLE_OPERATION_TIMEDOUT) return SERVICE_CALL_NETWORK_READ_TIMEOUT;
    return code == CURLE_COULDNT_CONNECT ? SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT : SERVICE_CALL_UNKNOWN;
}

/* The value of a field in a flat JSON answer, without its quotes; empty when it is absent or too long. */
static void field(const char *json, const char *name, char *out, size_t size)
{
    char key[64];
    out[0] = 0;
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *at = strstr(json, key);
    if (at == NULL) return;
    at += strlen(key) + strspn(at + strlen(key), " \t\r\n:");
    size_t length = *at == '"' ? strcspn(++at, "\"") : strcspn(at, ",} \r\n");
    if (length < size) snprintf(out, size, "%.*s", (int)length, at);
}

static void describe_result(const struct request *request, SERVICE_CALL_RESULT result)
{
    static const char *const states[] = { "CREATING", "ACTIVE", "UPDATING", "DELETING" };
    static StreamDescription description; /* large, and only the network thread uses it */
    char text[64];
    description.version = STREAM_DESCRIPTION_CURRENT_VERSION;
    field(request->answer, "StreamARN", description.streamArn, sizeof description.streamArn);
    field(request->answer, "DataRetentionInHours", text, sizeof text);
    description.retention = strtoull(text, NULL, 10) * HUNDREDS_OF_NANOS_IN_AN_HOUR;
    field(request->answer, "Status", text, sizeof text);
    for (int i = 0; i < 4; i++)
        if (strcmp(text, states[i]) == 0) description.streamStatus = (STREAM_STATUS)i;
    describeStreamResultEvent(request->custom, result, &description);
}

static void finish(struct request *request, CURLcode code)
{
    struct curl_header *type = NULL;
    char text[MAX_ARN_LEN + 1];
    (void)curl_easy_header(request->easy, "x-amzn-errortype", 0, CURLH_HEADER, -1, &type);
    const char *error = type == NULL ? curl_easy_strerror(code) : type->value;
    const SERVICE_CALL_RESULT result = result_of(request, code, error);
    if (result != SERVICE_CALL_RESULT_OK) fprintf(stderr, "%s: result %d, %s\n", request->url, (int)result, error);
    field(request->answer, request->call == CALL_ENDPOINT ? "DataEndpoint" : "StreamARN", text, sizeof text);
    switch (request->call) {
    case CALL_DESCRIBE: describe_result(request, result); break;
    case CALL_CREATE: createStreamResultEvent(request->custom, result, text); break;
    case CALL_TAG: tagResourceResultEvent(request->custom, result); break;
    case CALL_ENDPOINT: getStreamingEndpointResultEvent(request->custom, result, text); break;
    case CALL_PUT:
        if (request->is_open) kinesisVideoStreamTerminated(request->custom, request->upload, result);
        else putStreamResultEvent(request->custom, result, INVALID_UPLOAD_HANDLE_VALUE);
    }
}

/* libcurl asks for the body: the head of the request is out, so the upload counts as open from the first time on. */
static size_t send_media(char *to, size_t size, size_t count, void *data)
{
    struct request *request = data;
    UINT32 filled = 0;
    if (request->is_ended) return 0;
    if (!request->is_open) {
        request->is_open = 1;
        putStreamResultEvent(request->custom, SERVICE_CALL_RESULT_OK, request->upload);
    }
    atomic_store(&request->is_wanted, 0); /* before the read: what comes after it wakes the thread again */
    STATUS status = getKinesisVideoStreamData(request->custom, request->upload, (PBYTE)to, (UINT32)(size * count),
                                              &filled);
    if (status == STATUS_END_OF_STREAM) request->is_ended = 1;
    const int is_open = status == STATUS_SUCCESS || status == STATUS_NO_MORE_DATA_AVAILABLE ||
                        status == STATUS_AWAITING_PERSISTED_ACK || request->is_ended;
    if (!is_open) return CURL_READFUNC_ABORT; /* the library has given this upload up */
    if (filled > 0 || request->is_ended) return filled;
    request->is_paused = 1;
    return CURL_READFUNC_PAUSE;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *data)
{
    struct request *request = data;
    const size_t length = size * count;
    long http = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &http);
    if (request->call == CALL_PUT && http == 200) {
        for (size_t at = 0; at < length; at += MAX_ACK_FRAGMENT_LEN) { /* so much is taken at a time */
            size_t part = length - at < MAX_ACK_FRAGMENT_LEN ? length - at : MAX_ACK_FRAGMENT_LEN;
            kinesisVideoStreamParseFragmentAck(request->custom, request->upload, bytes + at, (UINT32)part);
        }
        return length;
    }
    if (request->answer_size + length >= sizeof request->answer) return 0;
    memcpy(request->answer + request->answer_size, bytes, length);
    request->answer_size += length;
    return length;
}

static void start(struct request *request)
{
    const struct net_config *config = &request->net->config;
    struct sigv4 sigv4;
    CURL *easy = request->easy = curl_easy_init();
    if (easy == NULL) return; /* tried again in the next round */
    if (config->access_key != NULL && sigv4_sign(&sigv4, config, request->url, request->body) == 0) {
        header(request, "X-Amz-Date: %s", sigv4.date);
        header(request, "X-Amz-Content-Sha256: %s", sigv4.payload);
        if (config->session_token != NULL) header(request, "X-Amz-Security-Token: %s", config->session_token);
        header(request, "Authorization: %s", sigv4.authorization);
    }
    header(request, "Expect:"); /* no round trip before the body */
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, request->connect_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    if (config->ca_file != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
    if (request->body != NULL) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, send_media); /* for PutMedia, which has no body yet */
    curl_easy_setopt(easy, CURLOPT_READDATA, request);
    curl_multi_add_handle(request->net->multi, easy);
}

/* Starts what is due and wakes what was paused; returns when the next waiting request is due. Only this thread takes
 * requests out of the list, and others add at its head: what was found stays when the lock is open again. */
static UINT64 start_and_resume(struct net *net)
{
    UINT64 next = INVALID_TIMESTAMP_VALUE, now = now_ticks();
    pthread_mutex_lock(&net->lock);
    struct request *request = net->requests;
    pthread_mutex_unlock(&net->lock);
    for (; request != NULL; request = request->next) {
        if (request->easy == NULL && request->due <= now) start(request);
        else if (request->easy == NULL && request->due < next) next = request->due;
        long http = 0;
        if (request->is_paused) curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &http);
        request->is_ended |= http >= 300; /* refused: libcurl would wait until the paused body has an end */
        if (!request->is_paused || (!request->is_ended && !atomic_load(&request->is_wanted))) continue;
        request->is_paused = 0;
        curl_easy_pause(request->easy, CURLPAUSE_CONT);
    }
    return next;
}

static void finish_done(struct net *net)
{
    CURLMsg *message;
    while ((message = curl_multi_info_read(net->multi, &(int){ 0 })) != NULL) {
        struct request *request = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        finish(request, message->data.result);
        pthread_mutex_lock(&net->lock);
        struct request **link = &net->requests;
        while (*link != request) link = &(*link)->next;
        *link = request->next;
        pthread_mutex_unlock(&net->lock);
        request_free(request);
    }
}

static void *network_thread(void *argument)
{
    struct net *net = argument;
    while (!atomic_load(&net->is_stopping)) {
        UINT64 deadline = INVALID_TIMESTAMP_VALUE, due;
        const CLIENT_HANDLE client = atomic_load(&net->client);
        if (STATUS_SUCCEEDED(kvsNextDeadline(client, &deadline)) && deadline <= now_ticks()) {
            kvsPoke(client);
            deadline = now_ticks() + TICKS_PER_MS;
        }
        due = start_and_resume(net);
        curl_multi_perform(net->multi, &(int){ 0 });
        finish_done(net);
        if (deadline < due) due = deadline;
        const UINT64 now = now_ticks(), wait_ms = due <= now ? 0 : (due - now) / TICKS_PER_MS + 1;
        curl_multi_poll(net->multi, NULL, 0, wait_ms < POLL_MS_MAX ? (int)wait_ms : POLL_MS_MAX, NULL);
    }
    return NULL;
}

struct net *net_start(const struct net_config *config, ClientCallbacks *callbacks)
{
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return NULL;
    net->config = *config;
    net->multi = curl_multi_init();
    pthread_mutex_init(&net->lock, NULL);
    *callbacks = (ClientCallbacks){ .version = CALLBACKS_CURRENT_VERSION, .customData = (UINT64)(uintptr_t)net,
                                    .getSecurityTokenFn = security_token, .createDeviceFn = create_device,
                                    .describeStreamFn = describe_stream, .createStreamFn = create_stream,
                                    .tagResourceFn = tag_stream, .getStreamingEndpointFn = find_endpoint,
                                    .getStreamingTokenFn = find_token, .putStreamFn = put_stream,
                                    .streamDataAvailableFn = data_available, .clientReadyFn = client_ready };
    if (net->multi != NULL && pthread_create(&net->thread, NULL, network_thread, net) == 0) return net;
    curl_multi_cleanup(net->multi);
    free(net);
    return NULL;
}

void net_stop(struct net *net)
{
    atomic_store(&net->is_stopping, 1);
    curl_multi_wakeup(net->multi);
    pthread_join(net->thread, NULL);
    for (struct request *next; net->requests != NULL; net->requests = next) {
        next = net->requests->next;
        request_free(net->requests);
    }
    curl_multi_cleanup(net->multi);
    pthread_mutex_destroy(&net->lock);
    free(net);
    curl_global_cleanup();
}
