/* camera.h — what the program of program.h keeps of each camera, and how it says what happens: each call, what the
 * call returned, and each callback is a line. A camera's lines and the bytes of its uploads are kept as digests
 * (FNV-1a), which do not depend on the order in which the library serves several cameras. With program.out each line is
 * written there, too. */
#ifndef KVS_TESTS_PIC_CAMERA_H
#define KVS_TESTS_PIC_CAMERA_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pic.h"

#define MS HUNDREDS_OF_NANOS_IN_A_MILLISECOND
#define SECOND HUNDREDS_OF_NANOS_IN_A_SECOND
#define HOUR HUNDREDS_OF_NANOS_IN_AN_HOUR
#define START_TIME (UINT64_C(16000000000) * MS)
#define NO_UPLOAD INVALID_UPLOAD_HANDLE_VALUE

enum { CAMERAS = 3, UPLOADS = 48, KEYS = 8, LOCKS = 64, CALLBACK_DEPTH = 2 };
enum call_kind { DEVICE, CERT, DESCRIBE, CREATE, TAG, ENDPOINT, TOKEN, PUT, CALL_KINDS };

/* What the service does with the next call of a kind. */
enum plan { ANSWERS, KEEPS_SILENT, REFUSES };

struct digest {
    uint64_t value;
};

struct camera_upload {
    UPLOAD_HANDLE handle;
    uint64_t size;
    struct digest bytes;
};

struct program;
struct camera {
    struct program *program;
    char name[12];
    STREAM_HANDLE handle, known;  /* known: as it was before the stream was freed, for what still comes */
    uint64_t random;              /* the state of its own generator: other cameras do not change what it does */
    struct digest lines;
    enum plan plan[CALL_KINDS];
    SERVICE_CALL_RESULT result[CALL_KINDS]; /* of the next answer; then OK */
    STREAM_STATUS status;         /* as described */
    uint8_t is_waiting[CALL_KINDS]; /* a call of this kind has no answer yet */
    struct camera_upload uploads[UPLOADS];
    uint32_t upload_count;
    UINT64 pts, keys[KEYS];       /* keys: times of the newest key frames */
    uint32_t key_count, depth;    /* depth: of callbacks that make calls */
    UINT64 pieces;                /* frames that were put */
};

struct program {
    UINT64 now, token_life, streaming_token_life;
    CLIENT_HANDLE client;
    DeviceInfo device;
    StreamInfo info;
    TrackInfo tracks[2];
    Tag tag;
    ClientCallbacks callbacks;
    struct camera cameras[CAMERAS + 1]; /* the last: the client */
    UPLOAD_HANDLE next_upload;
    uint64_t random;              /* of the library */
    uint8_t locks[LOCKS];         /* 1: there is one of this number, 2: it is held */
    uint32_t held, token_size;    /* token_size 0: the program has a certificate instead */
    uint32_t exchanged_size;      /* of the token that a certificate is exchanged for */
    STATUS credentials;           /* what the next callback for credentials returns; then STATUS_SUCCESS */
    void (*calls_back)(struct camera *camera); /* what the program does inside a callback; may be NULL */
    FILE *out;
};

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static inline void digest_add(struct digest *digest, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) digest->value = (digest->value ^ at[i]) * UINT64_C(0x100000001b3);
}

static inline struct digest digest_begin(void) { return (struct digest){ UINT64_C(0xcbf29ce484222325) }; }

__attribute__((format(printf, 2, 3))) static inline void say(struct camera *camera, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    CHECK(size >= 0 && (size_t)size < sizeof line);
    digest_add(&camera->lines, line, strlen(line) + 1u);
    if (camera->program->out == NULL) return;
    fprintf(camera->program->out, "%9.2f  %-8s  %s\n", (double)(camera->program->now - START_TIME) / (double)SECOND,
            camera->name, line);
}

/* The statuses that the field's programs meet most, by name; others by number. */
static inline const char *status_name(STATUS status)
{
    static const struct {
        STATUS status;
        const char *name;
    } NAMES[] = { { STATUS_SUCCESS, "done" },
                  { STATUS_NO_MORE_DATA_AVAILABLE, "no more data now" },
                  { STATUS_AWAITING_PERSISTED_ACK, "awaiting the last ACK" },
                  { STATUS_END_OF_STREAM, "end of stream" },
                  { STATUS_UPLOAD_HANDLE_ABORTED, "upload aborted" },
                  { STATUS_NULL_ARG, "null argument" },
                  { STATUS_INVALID_STREAM_STATE, "invalid stream state" },
                  { STATUS_STORE_OUT_OF_MEMORY, "store out of memory" },
                  { STATUS_STREAM_HAS_BEEN_STOPPED, "stream has been stopped" },
                  { STATUS_OPERATION_TIMED_OUT, "timed out" },
                  { STATUS_SERVICE_CALL_TIMEOUT_ERROR, "service call timeout" },
                  { STATUS_PUT_STREAM_CALL_FAILED, "PutMedia failed" },
                  { STATUS_SERVICE_CALL_UNKOWN_ERROR, "unknown error of the service" },
                  { STATUS_ACK_ERR_FRAGMENT_DURATION_REACHED, "fragment too long" } };
    static char number[16];
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (NAMES[i].status == status) return NAMES[i].name;
    }
    snprintf(number, sizeof number, "0x%08x", (unsigned)status);
    return number;
}

/* What a call of the program returned. */
static inline STATUS said(struct camera *camera, const char *call, STATUS status)
{
    say(camera, "%s: %s", call, status_name(status));
    return status;
}

/* ---- numbers by chance ------------------------------------------------------------------------------------------- */

static inline uint32_t chance_of(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(mixed >> 32);
}

/* 0 .. below - 1 */
static inline uint32_t chance(struct camera *camera, uint32_t below) { return chance_of(&camera->random) % below; }

#endif
