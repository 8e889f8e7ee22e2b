/* The state machines. Goal: each table says what the written-down machine says, cell by cell, and nothing else moves.
 * The expected tables stand here once more as text, drawn up from the required behaviour and not from the source. */
#include <stdlib.h>

#include "check.h"
#include "machine/client_fsm.h"
#include "machine/stream_fsm.h"
#include "machine/upload_fsm.h"

/* "STATE: EVENT>NEXT/ACT ..." — every other cell of the machine must be refused. */
static const char *const CLIENT[] = {
    "NEW: START>AUTH/GET_CREDENTIALS",
    /* CS-01, CS-02: a token leads to the device, a certificate is exchanged first; CS-03: no source means provisioning;
     * CS-04: a token of less than 30 s is a RETRYABLE answer; CS-10: a refresh returns to READY (TOKEN_AGAIN) */
    "AUTH: TOKEN>CREATE/CREATE_DEVICE TOKEN_AGAIN>READY/REPORT_READY CERTIFICATE>GET_TOKEN/EXCHANGE_TOKEN"
    " NO_SOURCE>PROVISION/PROVISION RETRYABLE>AUTH/GET_CREDENTIALS FATAL>FAILED/REPORT_FAILED"
    " SPENT>FAILED/REPORT_FAILED RETRY>AUTH/GET_CREDENTIALS",
    "PROVISION: OK>AUTH/GET_CREDENTIALS RETRYABLE>PROVISION/PROVISION FATAL>FAILED/REPORT_FAILED"
    " SPENT>FAILED/REPORT_FAILED RETRY>AUTH/GET_CREDENTIALS",
    "GET_TOKEN: TOKEN>CREATE/CREATE_DEVICE TOKEN_AGAIN>READY/REPORT_READY RETRYABLE>GET_TOKEN/EXCHANGE_TOKEN"
    " FATAL>FAILED/REPORT_FAILED SPENT>FAILED/REPORT_FAILED RETRY>AUTH/GET_CREDENTIALS",
    /* CS-07: a bad answer to CREATE is repeated, a good one leads on */
    "CREATE: OK>READY/REPORT_READY OK_TAGS>TAG/TAG_CLIENT RETRYABLE>CREATE/CREATE_DEVICE"
    " EXPIRING>AUTH/GET_CREDENTIALS FATAL>FAILED/REPORT_FAILED SPENT>FAILED/REPORT_FAILED RETRY>AUTH/GET_CREDENTIALS",
    "TAG: OK>READY/REPORT_READY RETRYABLE>TAG/TAG_CLIENT FATAL>READY/SKIP_TAG SPENT>READY/SKIP_TAG"
    " EXPIRING>AUTH/GET_CREDENTIALS RETRY>AUTH/GET_CREDENTIALS",
    /* CS-98: credentials are fetched ahead of their end, so no stream's call meets a dead one */
    "READY: EXPIRING>AUTH/GET_CREDENTIALS RETRY>AUTH/GET_CREDENTIALS",
    /* CS-10: never latched */
    "FAILED: RETRY>AUTH/GET_CREDENTIALS",
};

#define CALLER " DRAINED>STOPPED/REPORT_CLOSED RETRY>DESCRIBE/DESCRIBE RESET>DESCRIBE/DESCRIBE"
#define REFUSED " AUTH>FAILED/REPORT_FAILED FATAL>FAILED/REPORT_FAILED SPENT>FAILED/REPORT_FAILED"
/* CS-35, CS-36: a session that ends while the next one is being set up moves nothing */
#define STAYS(state) " ENDED_OK>" state "/STAY ENDED_AUTH>" state "/STAY ENDED_TIMEOUT>" state "/STAY ENDED_ERROR>" \
    state "/STAY"
/* CS-37 and CS-39 (200, limits), CS-41 (401, 403), CS-47 (timeouts), CS-43 and CS-45 (all else); the second half of
 * CS-39 and CS-41 happens in PUT_STREAM. CS-38, CS-40, CS-42, CS-44, CS-46: no recovery is ENDED_FATAL */
#define LAST " ENDED_OK>GET_ENDPOINT/GET_ENDPOINT ENDED_AUTH>GET_TOKEN/GET_TOKEN ENDED_TIMEOUT>READY/AWAIT_FRAME" \
    " ENDED_ERROR>DESCRIBE/DESCRIBE ENDED_FATAL>FAILED/REPORT_FAILED"

static const char *const STREAM[] = {
    "NEW: START>DESCRIBE/DESCRIBE" CALLER,
    /* CS-11 (ACTIVE), CS-13 (404: create), CS-14 and CS-91 (404 without permission is FATAL), CS-15 (DELETING is
     * FATAL), CS-16 (CREATING), CS-17 and CS-20 (RETRYABLE, SPENT), CS-18 (406 is FATAL), CS-19 (401 is AUTH) */
    "DESCRIBE: ACTIVE>GET_ENDPOINT/GET_ENDPOINT ACTIVE_TAGS>TAG/TAG NOT_READY>DESCRIBE/DESCRIBE"
    " NOT_FOUND>CREATE/CREATE IN_USE>DESCRIBE/DESCRIBE RETRYABLE>DESCRIBE/DESCRIBE ENDED_FATAL>DESCRIBE/STAY" REFUSED
    STAYS("DESCRIBE") CALLER,
    /* CS-13, CS-17 to CS-20, CS-24 (a bad answer is RETRYABLE) */
    "CREATE: OK>GET_ENDPOINT/GET_ENDPOINT OK_TAGS>TAG/TAG IN_USE>DESCRIBE/DESCRIBE RETRYABLE>CREATE/CREATE"
    " ENDED_FATAL>CREATE/STAY" REFUSED STAYS("CREATE") CALLER,
    /* CS-18, CS-19, CS-22: what the service refuses is skipped; CS-21, CS-23: so are spent retries. Never FAILED */
    "TAG: OK>GET_ENDPOINT/GET_ENDPOINT SKIP>GET_ENDPOINT/SKIP_TAG AUTH>GET_ENDPOINT/SKIP_TAG"
    " FATAL>GET_ENDPOINT/SKIP_TAG SPENT>GET_ENDPOINT/SKIP_TAG RETRYABLE>TAG/TAG IN_USE>TAG/TAG ENDED_FATAL>TAG/STAY"
    STAYS("TAG") CALLER,
    /* CS-17 to CS-20; CS-63: the old session may end before the new token is there */
    "GET_ENDPOINT: OK>GET_TOKEN/GET_TOKEN RETRYABLE>GET_ENDPOINT/GET_ENDPOINT IN_USE>GET_ENDPOINT/GET_ENDPOINT"
    " ENDED_FATAL>FAILED/REPORT_FAILED" REFUSED STAYS("GET_ENDPOINT") CALLER,
    /* CS-25: a token of less than 30 s is RETRYABLE */
    "GET_TOKEN: OK>READY/AWAIT_FRAME RETRYABLE>GET_TOKEN/GET_TOKEN IN_USE>GET_TOKEN/GET_TOKEN"
    " ENDED_FATAL>FAILED/REPORT_FAILED" REFUSED STAYS("GET_TOKEN") CALLER,
    /* CS-12: only a frame opens a session; CS-68: never with a dead token */
    "READY: FRAME>PUT_STREAM/PUT_MEDIA TOKEN_EXPIRING>GET_TOKEN/GET_TOKEN ENDED_FATAL>FAILED/REPORT_FAILED"
    STAYS("READY") CALLER,
    /* CS-85 (599 is repeated, then SPENT), CS-86 (401: a new token), CS-88 (the token's end waits: no cell), CS-89 (a
     * stray ACTIVE is refused: no cell) */
    "PUT_STREAM: OK>STREAMING/STREAM AUTH>GET_TOKEN/GET_TOKEN RETRYABLE>PUT_STREAM/PUT_MEDIA"
    " IN_USE>PUT_STREAM/PUT_MEDIA FATAL>FAILED/REPORT_FAILED SPENT>FAILED/REPORT_FAILED" LAST CALLER,
    /* CS-60, CS-61: rotation; CS-54: a reset connection is ENDED_OK */
    "STREAMING: TOKEN_EXPIRING>GET_ENDPOINT/GET_ENDPOINT NEW_SESSION>PUT_STREAM/PUT_MEDIA" LAST CALLER,
    /* CS-69, CS-70 lead here at once; CS-81: a reset, and it alone, leads out */
    "STOPPED: RESET>DESCRIBE/DESCRIBE",
    /* CS-82: a reset always heals */
    "FAILED: ENDED_FATAL>FAILED/STAY" STAYS("FAILED") CALLER,
};

static const char *const UPLOAD[] = {
    "OPENING: OPENED>READY/NOTIFY ABORT>DEAD/END",
    "READY: READ>STREAMING/STAY LAST_READ>FINISHED/STAY ABORT>DEAD/END",
    /* CS-54, CS-97: a reset connection and an error ACK end this handle and no other */
    "STREAMING: LAST_READ>DRAINING/STAY ABORT>DEAD/END",
    "DRAINING: END_READ>AWAITING_ACK/STAY END_READ_DONE>FINISHED/STAY LAST_ACK>DRAINING/STAY ABORT>DEAD/END",
    /* CS-62: the ACK of its last fragment makes the reader read once more */
    "AWAITING_ACK: LAST_ACK>FINISHED/NOTIFY ABORT>DEAD/END",
    "FINISHED: ABORT>DEAD/END",
    "DEAD: ABORT>DEAD/STAY",
};

static uint32_t number_of(const char *(*name)(uint32_t, uint32_t), uint32_t machine, const char *text, size_t size)
{
    for (uint32_t i = 0; name(machine, i) != NULL; i++) {
        if (strlen(name(machine, i)) == size && memcmp(name(machine, i), text, size) == 0) return i;
    }
    fprintf(stderr, "no such name: %.*s\n", (int)size, text);
    abort();
}

/* The cell that a row's text gives for an event, as next << 8 | act; 0 when the row does not have it. */
static uint32_t expected(uint32_t machine, const char *row, const char *event)
{
    size_t size = strlen(event);
    for (const char *at = strchr(row, ' '); at != NULL; at = strchr(at + 1, ' ')) {
        if (strncmp(at + 1, event, size) != 0 || at[1 + size] != '>') continue;
        const char *next = at + size + 2, *act = strchr(next, '/') + 1;
        return number_of(kvs_machine_state_name, machine, next, (size_t)(act - 1 - next)) << 8 |
               number_of(kvs_machine_act_name, machine, act, strcspn(act, " "));
    }
    return 0;
}

static uint32_t words_in(const char *row)
{
    uint32_t count = 0;
    for (const char *at = strchr(row, '>'); at != NULL; at = strchr(at + 1, '>')) count++;
    return count;
}

static void check_row(uint32_t machine, uint32_t state, const char *row)
{
    uint32_t found = 0;
    const char *event;
    for (uint32_t i = 0; (event = kvs_machine_event_name(machine, i)) != NULL; i++) {
        uint32_t next = 77, act = 77, want = expected(machine, row, event);
        kvs_status status = kvs_fsm_step(machine, state, i, &next, &act);
        int is_right = want != 0 ? status == KVS_OK && next == want >> 8 && act == (want & 0xff)
                                 : status == KVS_E_STREAM_STATE && next == 77 && act == 77;
        if (!CHECK(is_right)) fprintf(stderr, "    machine %u, event %s in row %s\n", machine, event, row);
        found += want != 0;
    }
    CHECK_EQ(found, words_in(row)); /* no misspelt event in the expectation */
}

static void check_machine(uint32_t machine, const char *const *rows, uint32_t row_count)
{
    struct kvs_machine_info info;
    CHECK_EQ(kvs_machine_info(machine, &info), KVS_OK);
    CHECK_EQ(info.state_count, row_count);
    CHECK_EQ(info.initial, 0);
    for (uint32_t i = 0; i < row_count && i < info.state_count; i++) {
        size_t size = strcspn(rows[i], ":");
        CHECK_EQ(number_of(kvs_machine_state_name, machine, rows[i], size), i);
        check_row(machine, i, rows[i]);
    }
}

static void every_name_is_there_and_none_past_the_end(uint32_t machine)
{
    struct kvs_machine_info info;
    if (!CHECK_EQ(kvs_machine_info(machine, &info), KVS_OK)) return;
    CHECK(info.name != NULL && info.state_count > 0 && info.event_count > 0 && info.act_count > 1);
    for (uint32_t i = 0; i < info.state_count; i++) CHECK(kvs_machine_state_name(machine, i) != NULL);
    for (uint32_t i = 0; i < info.event_count; i++) CHECK(kvs_machine_event_name(machine, i) != NULL);
    for (uint32_t i = 0; i < info.act_count; i++) CHECK(kvs_machine_act_name(machine, i) != NULL);
    CHECK(kvs_machine_state_name(machine, info.state_count) == NULL);
    CHECK(kvs_machine_event_name(machine, info.event_count) == NULL);
    CHECK(kvs_machine_act_name(machine, info.act_count) == NULL);
    CHECK_EQ(kvs_machine_spent_status(machine, info.state_count), KVS_E_MACHINE);
}

/* Every cell's target exists, and every state can be reached from the first one. */
static void tables_are_closed_and_connected(uint32_t machine)
{
    struct kvs_machine_info info;
    uint32_t reached = 1, before = 0, next, act;
    kvs_machine_info(machine, &info);
    while (reached != before) {
        before = reached;
        for (uint32_t cell = 0; cell < info.state_count * info.event_count; cell++) {
            uint32_t state = cell / info.event_count;
            if (!(reached & 1u << state)) continue;
            if (kvs_fsm_step(machine, state, cell % info.event_count, &next, &act) != KVS_OK) continue;
            if (CHECK(next < info.state_count && act < info.act_count)) reached |= 1u << next;
        }
    }
    CHECK_EQ(reached, (1u << info.state_count) - 1);
}

static void wrong_numbers_are_refused(void)
{
    uint32_t next = 0, act = 0;
    struct kvs_machine_info info;
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_COUNT, 0, 0, &next, &act), KVS_E_MACHINE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, KVS_STREAM_STATE_COUNT, 0, &next, &act), KVS_E_MACHINE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, 0, KVS_STREAM_EV_COUNT, &next, &act), KVS_E_MACHINE);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, 0, 0, NULL, &act), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_fsm_step(KVS_MACHINE_STREAM, 0, 0, &next, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_machine_info(KVS_MACHINE_COUNT, &info), KVS_E_MACHINE);
    CHECK_EQ(kvs_machine_info(KVS_MACHINE_STREAM, NULL), KVS_E_NULL_ARG);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_COUNT, 0), KVS_E_MACHINE);
    CHECK(kvs_machine_state_name(KVS_MACHINE_COUNT, 0) == NULL);
}

/* CS-20, CS-21, CS-85: each call has a status of its own for "the retries are spent"; other states have none. */
static void spent_statuses(void)
{
    static const kvs_status WANTED[KVS_STREAM_STATE_COUNT] = {
        [KVS_STREAM_DESCRIBE] = KVS_E_DESCRIBE_FAILED, [KVS_STREAM_CREATE] = KVS_E_CREATE_FAILED,
        [KVS_STREAM_TAG] = KVS_E_TAG_FAILED, [KVS_STREAM_GET_ENDPOINT] = KVS_E_ENDPOINT_FAILED,
        [KVS_STREAM_GET_TOKEN] = KVS_E_TOKEN_FAILED, [KVS_STREAM_PUT_STREAM] = KVS_E_PUT_MEDIA_FAILED,
        [KVS_STREAM_STREAMING] = KVS_E_CONNECTION_LOST,
    };
    struct kvs_machine_info info;
    for (uint32_t i = 0; i < KVS_STREAM_STATE_COUNT; i++) {
        CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_STREAM, i), WANTED[i]);
        uint8_t state = (uint8_t)i;
        uint32_t act;
        int is_call = kvs_fsm_move(&kvs_stream_fsm, &state, KVS_STREAM_EV_RETRYABLE, &act) == KVS_OK;
        CHECK(!is_call || (state == i && WANTED[i] != 0)); /* a repeat stays, and is bounded */
        CHECK_EQ(is_call, kvs_fsm_edge(&kvs_stream_fsm, i, KVS_STREAM_EV_SPENT) != NULL);
    }
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_CLIENT, KVS_CLIENT_AUTH), KVS_E_AUTH_FAILED);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_CLIENT, KVS_CLIENT_PROVISION), KVS_E_PROVISION_FAILED);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_CLIENT, KVS_CLIENT_GET_TOKEN), KVS_E_CLIENT_TOKEN_FAILED);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_CLIENT, KVS_CLIENT_CREATE), KVS_E_CREATE_DEVICE_FAILED);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_CLIENT, KVS_CLIENT_READY), 0);
    CHECK_EQ(kvs_machine_spent_status(KVS_MACHINE_UPLOAD, KVS_UPLOAD_STREAMING), 0);
    kvs_machine_info(KVS_MACHINE_STREAM, &info);
    CHECK_EQ(info.retries_max, KVS_RETRIES_MAX);
    kvs_machine_info(KVS_MACHINE_UPLOAD, &info);
    CHECK_EQ(info.retries_max, 0);
}

/* The walk of a life: CS-11, CS-12, a rotation (CS-61), a timeout with data (CS-47), stop (CS-71), reset (CS-81). */
static void a_life_from_new_to_stopped_and_back(void)
{
    static const uint8_t WALK[][2] = {
        { KVS_STREAM_EV_START, KVS_STREAM_DESCRIBE }, { KVS_STREAM_EV_NOT_FOUND, KVS_STREAM_CREATE },
        { KVS_STREAM_EV_OK_TAGS, KVS_STREAM_TAG }, { KVS_STREAM_EV_OK, KVS_STREAM_GET_ENDPOINT },
        { KVS_STREAM_EV_OK, KVS_STREAM_GET_TOKEN }, { KVS_STREAM_EV_OK, KVS_STREAM_READY },
        { KVS_STREAM_EV_FRAME, KVS_STREAM_PUT_STREAM }, { KVS_STREAM_EV_OK, KVS_STREAM_STREAMING },
        { KVS_STREAM_EV_TOKEN_EXPIRING, KVS_STREAM_GET_ENDPOINT }, { KVS_STREAM_EV_OK, KVS_STREAM_GET_TOKEN },
        { KVS_STREAM_EV_ENDED_OK, KVS_STREAM_GET_TOKEN }, { KVS_STREAM_EV_OK, KVS_STREAM_READY },
        { KVS_STREAM_EV_FRAME, KVS_STREAM_PUT_STREAM }, { KVS_STREAM_EV_OK, KVS_STREAM_STREAMING },
        { KVS_STREAM_EV_ENDED_TIMEOUT, KVS_STREAM_READY }, { KVS_STREAM_EV_FRAME, KVS_STREAM_PUT_STREAM },
        { KVS_STREAM_EV_SPENT, KVS_STREAM_FAILED }, { KVS_STREAM_EV_RETRY, KVS_STREAM_DESCRIBE },
        { KVS_STREAM_EV_DRAINED, KVS_STREAM_STOPPED }, { KVS_STREAM_EV_RESET, KVS_STREAM_DESCRIBE },
    };
    uint8_t state = kvs_stream_fsm.initial;
    for (size_t i = 0; i < sizeof(WALK) / sizeof(WALK[0]); i++) {
        uint32_t act = 0;
        CHECK_EQ(kvs_fsm_move(&kvs_stream_fsm, &state, WALK[i][0], &act), KVS_OK);
        CHECK_EQ(state, WALK[i][1]);
    }
    uint32_t act = 99;
    CHECK_EQ(kvs_fsm_move(&kvs_stream_fsm, &state, KVS_STREAM_EV_FRAME, &act), KVS_E_STREAM_STATE);
    CHECK(state == KVS_STREAM_DESCRIBE && act == 99);
    CHECK_EQ(kvs_fsm_move(&kvs_stream_fsm, &state, KVS_STREAM_EV_COUNT, &act), KVS_E_STREAM_STATE);
}

int main(void)
{
    check_machine(KVS_MACHINE_CLIENT, CLIENT, sizeof(CLIENT) / sizeof(CLIENT[0]));
    check_machine(KVS_MACHINE_STREAM, STREAM, sizeof(STREAM) / sizeof(STREAM[0]));
    check_machine(KVS_MACHINE_UPLOAD, UPLOAD, sizeof(UPLOAD) / sizeof(UPLOAD[0]));
    for (uint32_t machine = 0; machine < KVS_MACHINE_COUNT; machine++) {
        every_name_is_there_and_none_past_the_end(machine);
        tables_are_closed_and_connected(machine);
    }
    wrong_numbers_are_refused();
    spent_statuses();
    a_life_from_new_to_stopped_and_back();
    return CHECK_DONE();
}
