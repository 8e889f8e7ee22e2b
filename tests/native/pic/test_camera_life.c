/* test_camera_life.c — the life of a C camera through pic.h, as a transcript to be read: camera_life.txt. Goal: an
 * author of a network layer sees there which calls and callbacks come in which order, and a change of that order shows
 * in the transcript's diff. Time is in seconds; "<-" is a callback of the library, all else is the program.
 *   test_camera_life           compares
 *   test_camera_life record    prints the transcript; `make -C tests/native/pic stories` writes it */
#include "program.h"

static const char FILE_NAME[] = "tests/native/pic/camera_life.txt";

static void chapter(struct program *p, const char *title) { fprintf(p->out, "\n# %s\n", title); }

/* So many frames, 40 ms apart, of which the first is a key frame. */
static void film(struct camera *camera, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)camera_put(camera, i == 0 ? FRAME_FLAG_KEY_FRAME : FRAME_FLAG_NONE, 1, i == 0 ? 5000 : 1000);
        camera->pts += 40 * MS;
        camera->program->now += 40 * MS;
    }
}

static void persist(struct camera *camera, uint32_t back)
{
    uint32_t newest = camera->upload_count - 1u;
    (void)camera_ack(camera, newest, FRAGMENT_ACK_TYPE_PERSISTED, camera_key(camera, back), SERVICE_CALL_RESULT_OK);
}

static void lose(struct camera *camera, uint32_t place, SERVICE_CALL_RESULT result)
{
    say(camera, "kinesisVideoStreamTerminated of upload %u with %d ...", (unsigned)place + 1, (int)result);
    (void)said(camera, "... terminated",
               kinesisVideoStreamTerminated(camera->handle, camera->uploads[place].handle, result));
}

static void wait_for_deadline(struct program *p)
{
    struct camera *client = &p->cameras[CAMERAS];
    UINT64 due = INVALID_TIMESTAMP_VALUE;
    (void)kvsNextDeadline(p->client, &due);
    if (CHECK(due != INVALID_TIMESTAMP_VALUE) && due > p->now) p->now = due;
    say(client, "kvsPoke, at the time that kvsNextDeadline said ...");
    (void)said(client, "... poked", kvsPoke(p->client));
}

static void begin(struct program *p, struct camera *camera)
{
    struct camera *client = &p->cameras[CAMERAS];
    chapter(p, "The client: credentials and a device");
    say(client, "createKinesisVideoClient ...");
    CHECK_EQ(said(client, "... created", createKinesisVideoClient(&p->device, &p->callbacks, &p->client)),
             STATUS_SUCCESS);
    chapter(p, "The stream is missing: it is created and tagged. Answers come inside the callbacks");
    camera->result[DESCRIBE] = SERVICE_CALL_RESOURCE_NOT_FOUND;
    CHECK_EQ(camera_open(camera, 0), STATUS_SUCCESS);
}

static void upload(struct program *p, struct camera *camera)
{
    chapter(p, "The first key frame orders PutMedia; the network thread reads what there is");
    film(camera, 3);
    camera_read_all(camera, 0);
    film(camera, 3);
    camera_read_all(camera, 0);
    chapter(p, "ACKs of the first fragment");
    (void)camera_ack(camera, 0, FRAGMENT_ACK_TYPE_BUFFERING, camera_key(camera, 1), SERVICE_CALL_RESULT_OK);
    (void)camera_ack(camera, 0, FRAGMENT_ACK_TYPE_RECEIVED, camera_key(camera, 1), SERVICE_CALL_RESULT_OK);
    persist(camera, 1);
}

static void reconnect(struct program *p, struct camera *camera)
{
    chapter(p, "The connection breaks: the next upload repeats the fragment that is not persisted");
    lose(camera, 0, SERVICE_CALL_NETWORK_READ_TIMEOUT);
    film(camera, 3);
    camera_read_all(camera, 1);
    persist(camera, 0);
    chapter(p, "An outage: every PutMedia fails at once. The program hears of it once, and goes on filming");
    lose(camera, 1, SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT);
    for (uint32_t i = 0; i < 8; i++) {
        camera->result[PUT] = camera->result[DESCRIBE] = SERVICE_CALL_NETWORK_CONNECTION_TIMEOUT;
        if (i % 3 == 0) film(camera, 2);
        else wait_for_deadline(p);
    }
    chapter(p, "The service is back");
    camera->result[PUT] = camera->result[DESCRIBE] = SERVICE_CALL_RESULT_OK;
    for (uint32_t i = 0; i < 3 && camera->upload_count < 3; i++) wait_for_deadline(p);
    CHECK_EQ(camera->upload_count, 3);
    camera_read_all(camera, 2);
    persist(camera, 0);
}

static void rotate(struct program *p, struct camera *camera)
{
    chapter(p, "The streaming token ends soon: a new upload is ordered, and the old one ends with its fragment");
    p->now += p->streaming_token_life - 60 * SECOND;
    for (uint32_t i = 0; i < 4 && camera->upload_count < 4; i++) {
        wait_for_deadline(p);
        camera->pts = p->now;
        film(camera, 2);
        camera_read_all(camera, 2);
    }
    CHECK_EQ(camera->upload_count, 4);
    (void)camera_ack(camera, 2, FRAGMENT_ACK_TYPE_PERSISTED, camera_key(camera, 1), SERVICE_CALL_RESULT_OK);
    camera_read_all(camera, 2);
    camera_read_all(camera, 3);
}

static void refuse(struct program *p, struct camera *camera)
{
    chapter(p, "The service refuses a fragment and ends the upload: the error is reported, the next upload begins");
    (void)camera_ack(camera, 3, FRAGMENT_ACK_TYPE_ERROR, camera_key(camera, 0),
                     SERVICE_CALL_RESULT_FRAGMENT_DURATION_REACHED);
    film(camera, 2);
    for (uint32_t i = 3; i < camera->upload_count; i++) camera_read_all(camera, i);
}

static void end(struct program *p, struct camera *camera)
{
    CLIENT_HANDLE handle = p->client;
    struct camera *client = &p->cameras[CAMERAS];
    uint32_t newest = camera->upload_count - 1u;
    chapter(p, "The stop: the rest is read, the last ACK comes, and the stream is closed");
    say(camera, "stopKinesisVideoStream ...");
    CHECK_EQ(said(camera, "... stopped", stopKinesisVideoStream(camera->handle)), STATUS_SUCCESS);
    camera_read_all(camera, newest);
    persist(camera, 0);
    CHECK_EQ(camera_read(camera, newest, 1000), STATUS_END_OF_STREAM);
    CHECK_EQ(camera_put(camera, FRAME_FLAG_KEY_FRAME, 1, 1000), STATUS_STREAM_HAS_BEEN_STOPPED);
    chapter(p, "The end");
    CHECK_EQ(camera_free(camera), STATUS_SUCCESS);
    say(client, "freeKinesisVideoClient ...");
    CHECK_EQ(said(client, "... freed", freeKinesisVideoClient(&handle)), STATUS_SUCCESS);
}

static void live(FILE *out)
{
    static struct program p;
    program_begin(&p);
    p.out = out;
    p.info.tagCount = 1;
    p.info.tags = &p.tag;
    fprintf(out, "# The life of a camera through pic.h. Written by: make -C tests/native/pic stories\n");
    begin(&p, &p.cameras[0]);
    upload(&p, &p.cameras[0]);
    reconnect(&p, &p.cameras[0]);
    rotate(&p, &p.cameras[0]);
    refuse(&p, &p.cameras[0]);
    end(&p, &p.cameras[0]);
    for (uint32_t i = 0; i < LOCKS; i++) CHECK_EQ(p.locks[i], 0);
}

/* Line by line; the first that differs is shown. */
static void compare(FILE *lived, FILE *recorded)
{
    char line[600], wanted[600];
    for (int number = 1;; number++) {
        const char *got = fgets(line, sizeof line, lived), *want = fgets(wanted, sizeof wanted, recorded);
        if (got == NULL || want == NULL) {
            CHECK(got == want);
            return;
        }
        if (CHECK_STR(got, want)) continue;
        fprintf(stderr, "%s:%d: %s  instead of\n  %s", FILE_NAME, number, got, want);
        return;
    }
}

int main(int argument_count, char **arguments)
{
    if (argument_count > 1 && strcmp(arguments[1], "record") == 0) {
        live(stdout);
        return check_failed != 0;
    }
    FILE *lived = tmpfile(), *recorded = fopen(FILE_NAME, "r");
    if (CHECK(lived != NULL) && CHECK(recorded != NULL)) {
        live(lived);
        rewind(lived);
        compare(lived, recorded);
    }
    if (lived != NULL) fclose(lived);
    if (recorded != NULL) fclose(recorded);
    return CHECK_DONE();
}
