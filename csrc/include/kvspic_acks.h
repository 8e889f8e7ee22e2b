/* kvspic_acks.h — every id of an ERROR ACK: what it is about, what it means, what to do.
 *
 * What it is about decides what a producer does. The engine, kvs_ack_error_of, the Python facade and docs/errors.md
 * are all made from this one table:
 *   FRAGMENT  the service will never take this fragment: it is dropped, the others go on in another session.
 *   SESSION   this PutMedia session is over, and the fragment is as good as before: it is sent again.
 *   STREAM    nothing of this stream can be stored now: everything is kept, and the stream is described before the next
 *             try; after KVS_RETRIES_MAX tries it is FAILED and says why.
 * Source of ids and meanings: Amazon Kinesis Video Streams developer guide, PutMedia, "Acknowledgment error codes". The
 * guide does not list 4507 (STREAM_DELETED); the published producer SDKs know it. Of MIN_FRAGMENT_DURATION_REACHED it
 * gives the name alone ("Quotas"); 4013 is what the local endpoint says. An id that is not here counts as
 * UNKNOWN: to send again what may be good costs less than to drop it. */
#ifndef KVSPIC_ACKS_H
#define KVSPIC_ACKS_H

/* X(id, NAME, ABOUT, "meaning", "what to do") */
#define KVS_ACK_ERROR_TABLE(X) \
    X(4000, STREAM_READ_ERROR, SESSION, "the service could not read the body of the upload", \
      "check the network and proxies on the way") \
    X(4001, MAX_FRAGMENT_SIZE_REACHED, FRAGMENT, "the fragment is larger than 50 MB", \
      "make key frames more often, or use a lower bit rate") \
    X(4002, MAX_FRAGMENT_DURATION_REACHED, FRAGMENT, "the fragment is longer than 20 s", \
      "make a key frame every few seconds") \
    X(4003, MAX_CONNECTION_DURATION_REACHED, SESSION, "the session is older than 45 minutes", \
      "nothing: the upload goes on in another session") \
    X(4004, FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS, FRAGMENT, "a frame is not later than the fragment before it", \
      "let no other producer upload to this stream, and check the times that are put") \
    X(4005, MORE_THAN_ONE_TRACK_FOUND, FRAGMENT, "the stream may have one track only", "upload one track") \
    X(4006, INVALID_MKV_DATA, FRAGMENT, "the service could not parse the fragment", \
      "check codec private data and metadata") \
    X(4007, INVALID_PRODUCER_TIMESTAMP, FRAGMENT, "the fragment's time cannot be true", \
      "set the clock, and put times in ns since 1970") \
    X(4008, STREAM_NOT_ACTIVE, STREAM, "the stream is deleted or not ACTIVE", \
      "wait until it is ACTIVE, or create it again") \
    X(4009, FRAGMENT_METADATA_LIMIT_REACHED, FRAGMENT, "the fragment has too much metadata", \
      "use at most 10 pairs a fragment, with names of 128 bytes and values of 256") \
    X(4010, TRACK_NUMBER_MISMATCH, FRAGMENT, "a frame is of a track that was not announced", \
      "put frames of the opened tracks only") \
    X(4011, FRAMES_MISSING_FOR_TRACK, FRAGMENT, "a track that was announced has no frame in the fragment", \
      "put frames of each track in each fragment, or open the stream without that track") \
    X(4012, MORE_THAN_ALLOWED_TRACKS_FOUND, FRAGMENT, "the stream has more than 3 tracks", "upload at most 3 tracks") \
    X(4013, MIN_FRAGMENT_DURATION_REACHED, FRAGMENT, "the fragment is shorter than 1 s", \
      "make key frames less often, or let key frames be joined to fragments of 1 s or more") \
    X(4500, KMS_KEY_ACCESS_DENIED, STREAM, "the service may not use the stream's KMS key", \
      "allow the credentials kms:GenerateDataKey on the key") \
    X(4501, KMS_KEY_DISABLED, STREAM, "the stream's KMS key is disabled", "enable the key in KMS") \
    X(4502, KMS_KEY_VALIDATION_ERROR, STREAM, "the stream's KMS key could not be validated", \
      "check the key that the stream was created with") \
    X(4503, KMS_KEY_UNAVAILABLE, STREAM, "the stream's KMS key is not available now", \
      "wait; check KMS if it does not pass") \
    X(4504, KMS_KEY_INVALID_USAGE, STREAM, "the stream's KMS key is not one for encryption", \
      "create the stream with a key for ENCRYPT_DECRYPT") \
    X(4505, KMS_KEY_INVALID_STATE, STREAM, "the state of the stream's KMS key does not allow its use", \
      "cancel the key's deletion or finish its import in KMS") \
    X(4506, KMS_KEY_NOT_FOUND, STREAM, "the stream's KMS key does not exist", \
      "restore the key, or create the stream with another one") \
    X(4507, STREAM_DELETED, STREAM, "the stream is being deleted", "create it again, or stop this producer") \
    X(5000, INTERNAL_ERROR, STREAM, "the service failed", "wait; check the AWS health dashboard if it does not pass") \
    X(5001, ARCHIVAL_ERROR, STREAM, "the service received the fragment and could not store it", \
      "wait; check the AWS health dashboard if it does not pass") \
    X(7000, UNKNOWN, SESSION, "the service refused for a reason that this library does not know", \
      "look the id up in the documentation of PutMedia, and update the library")

#endif
