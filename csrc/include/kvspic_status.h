/* kvspic_status.h — every status that the library returns: name, number, class, sentence.
 *
 * The enum in kvspic.h, the texts of kvs_status_text, the Python exception classes and docs/errors.md are all made
 * from this one table. A status is 0 (KVS_OK), a count, or one of these negatives. Numbers never change meaning.
 * Classes: USAGE (the caller's arguments), STATE (not now), MEDIA (the bytes or times of a frame), RESOURCE (memory,
 * store, limits), SERVICE (what the service answered), INTERNAL (a fault of ours). */
#ifndef KVSPIC_STATUS_H
#define KVSPIC_STATUS_H

/* X(NAME, number, CLASS, "sentence") */
#define KVS_STATUS_TABLE(X) \
    X(NULL_ARG, -100, USAGE, "a required pointer is NULL") \
    X(INVALID_ARG, -101, USAGE, "an argument is outside its documented range") \
    X(CONFIG_SIZE, -102, USAGE, "the size field of a struct is not one that this library knows") \
    X(HOST, -103, USAGE, "the host functions are incomplete: alloc and free are required, locks come as four or none") \
    X(STORE_SIZE, -104, USAGE, "the content store must be at least two slabs and at most 1 TiB") \
    X(STREAM_NAME, -105, USAGE, "a stream name has 1 to 256 characters out of a-z A-Z 0-9 _ . -") \
    X(DUPLICATE_STREAM, -106, USAGE, "a stream of this name is already open on this client") \
    X(RETENTION, -107, USAGE, "retention is 0 or at least one hour") \
    X(OFFLINE_WITHOUT_ACKS, -108, USAGE, "an offline stream needs retention and fragment acknowledgements") \
    X(TRACK_COUNT, -109, USAGE, "a stream has 1 to 3 tracks") \
    X(DUPLICATE_TRACK, -110, USAGE, "two tracks have the same id") \
    X(UNKNOWN_TRACK, -111, USAGE, "the track was not declared when the stream was opened") \
    X(TRACK_UID, -112, USAGE, "a track id may not be 0") \
    X(CODEC_ID_SIZE, -113, USAGE, "a codec id has at most 32 bytes") \
    X(TRACK_NAME_SIZE, -114, USAGE, "a track name has at most 32 bytes") \
    X(CPD_SIZE, -115, USAGE, "codec private data has at most 1 MiB") \
    X(CPD_NULL, -116, USAGE, "codec private data has a size but no pointer") \
    X(CONTENT_TYPE_SIZE, -117, USAGE, "a content type has at most 128 bytes") \
    X(CLIENT_ID_SIZE, -118, USAGE, "a client id has at most 64 bytes") \
    X(SEGMENT_UUID, -119, USAGE, "a segment UUID may not be all zero") \
    X(TIMECODE_SCALE, -120, USAGE, "the timecode scale is 1 tick to 1 second") \
    X(CLUSTER_DURATION, -121, USAGE, "the fragment duration is 1 to 30 seconds") \
    X(NAL_FLAGS, -122, USAGE, "Annex-B and AVCC adaptation exclude each other") \
    X(METADATA_NAME, -123, USAGE, "a metadata name has 1 to 128 bytes and does not begin with AWS") \
    X(METADATA_VALUE, -124, USAGE, "a metadata value has at most 256 bytes") \
    X(TAG_NAME_SIZE, -125, USAGE, "a tag name has 1 to 128 bytes") \
    X(TAG_VALUE_SIZE, -126, USAGE, "a tag value has at most 256 bytes") \
    X(EVENT_PREFIX_SIZE, -127, USAGE, "an image prefix has at most 256 bytes") \
    X(EVENT_NAME_SIZE, -128, USAGE, "an event pair's name has 1 to 128 bytes") \
    X(EVENT_VALUE_SIZE, -129, USAGE, "an event pair's value has at most 256 bytes") \
    X(EVENT_PAIRS, -130, USAGE, "an event has at most 10 pairs") \
    X(EOFR_NEEDS_KEY_FRAGMENTS, -131, USAGE, "end of fragment needs key-frame fragmentation") \
    X(EOFR_ORDER_MODE, -132, USAGE, "this frame order mode does not allow end of fragment") \
    X(TAG_PARENT, -133, USAGE, "a tag can not be written under this parent element") \
    X(BUFFER_TOO_SMALL, -134, USAGE, "the output buffer is too small for the result") \
    X(MACHINE, -135, USAGE, "there is no state machine, state or event of this number") \
    X(FRAME_ORDER_MODE, -136, USAGE, "the frame order mode does not exist") \
    X(CLIENT_STATE, -200, STATE, "the client is not READY yet: answer its orders until KVS_ACTION_CLIENT_READY") \
    X(STREAM_STATE, -201, STATE, "not in this state; metadata is refused until the service has described the stream") \
    X(STREAM_STOPPED, -202, STATE, "the stream has been stopped") \
    X(STALE_ANSWER, -203, STATE, "the answer does not belong to the request that is outstanding") \
    X(UNKNOWN_UPLOAD, -204, STATE, "the upload handle is not (or no longer) one of this stream's") \
    X(DOUBLE_EOFR, -205, STATE, "the fragment has already been ended; put a key frame first") \
    X(NO_FRAGMENT, -206, STATE, "no frame has been put yet, so there is no fragment to end or to mark") \
    X(DUPLICATE_EVENT, -207, STATE, "this event is already waiting for the next fragment") \
    X(PUT_INTERRUPTED, -208, STATE, "the waiting put was ended because the stream stopped") \
    X(UPLOAD_STATE, -209, STATE, "PUT_MEDIA of this upload handle was not answered yet: answer it, then read") \
    X(FRAME_DATA, -300, MEDIA, "a frame has at least one byte") \
    X(FRAME_TIMESTAMP, -301, MEDIA, "the frame's time lies before its fragment's start or the track's last frame") \
    X(FRAME_TIMESTAMP_RANGE, -302, MEDIA, "a time is above 2^63 nanoseconds") \
    X(LARGE_TIMECODE, -303, MEDIA, "the frame lies further from its fragment's start than a block time can say") \
    X(ANNEXB_FRAME, -304, MEDIA, "the frame is not a valid Annex-B access unit") \
    X(AVCC_FRAME, -305, MEDIA, "the frame's length prefixes do not fit its size") \
    X(ANNEXB_CPD, -306, MEDIA, "the codec private data is not valid Annex-B") \
    X(CPD_TOO_SHORT, -307, MEDIA, "the codec private data is too short") \
    X(CPD_FORMAT, -308, MEDIA, "the codec private data is in no known form") \
    X(SPS_NALU, -309, MEDIA, "the sequence parameter set has a wrong NAL header") \
    X(SPS_WIDTH, -310, MEDIA, "the picture width is outside 0 to 65535") \
    X(SPS_HEIGHT, -311, MEDIA, "the picture height is outside 0 to 65535") \
    X(SPS_BITS, -312, MEDIA, "the parameter set ends too early") \
    X(SPS_CHROMA_FORMAT, -313, MEDIA, "the chroma format is not one of 0 to 3") \
    X(SPS_RESERVED, -314, MEDIA, "reserved bits of the parameter set are set") \
    X(MISSING_SPS, -315, MEDIA, "the codec private data holds no sequence parameter set") \
    X(MISSING_PPS, -316, MEDIA, "the codec private data holds no picture parameter set") \
    X(MISSING_NALUS, -317, MEDIA, "the codec private data lacks parameter sets") \
    X(HEVC_NALU_COUNT, -318, MEDIA, "an array of the HEVC configuration record has an impossible count") \
    X(HEVC_NALU_SIZE, -319, MEDIA, "a length in the HEVC configuration record is past its end") \
    X(HEVC_FORMAT, -320, MEDIA, "the HEVC configuration record is malformed") \
    X(BIH, -321, MEDIA, "the BITMAPINFOHEADER is malformed") \
    X(AAC_CPD, -322, MEDIA, "the AudioSpecificConfig is malformed") \
    X(AAC_FREQUENCY, -323, MEDIA, "the AAC sampling frequency index is reserved") \
    X(AAC_CHANNELS, -324, MEDIA, "the AAC channel configuration is not supported") \
    X(PCM_CPD, -325, MEDIA, "the WAVEFORMATEX is malformed or not A-law or mu-law") \
    X(NUMBER_TOO_BIG, -326, MEDIA, "the number does not fit an EBML size") \
    X(ACK_KEY_START, -330, MEDIA, "fragment ACK: a key must start with a quote") \
    X(ACK_DUPLICATE_KEY, -331, MEDIA, "fragment ACK: a key appears twice") \
    X(ACK_VALUE_START, -332, MEDIA, "fragment ACK: no value starts with this character") \
    X(ACK_VALUE_END, -333, MEDIA, "fragment ACK: a value ends with an impossible character") \
    X(ACK_NUMBER, -334, MEDIA, "fragment ACK: FragmentTimecode or ErrorId is not a number") \
    X(ACK_TYPE, -335, MEDIA, "fragment ACK: EventType is missing or unknown") \
    X(ACK_NO_ERROR_ID, -336, MEDIA, "fragment ACK: an ERROR without ErrorId") \
    X(ACK_TOKEN_SIZE, -337, MEDIA, "fragment ACK: a key or value is longer than any of the service's") \
    X(ACK_NESTING, -338, MEDIA, "fragment ACK: values nest too deeply") \
    X(ACK_NOT_IN_VIEW, -339, MEDIA, "fragment ACK: no buffered fragment of this upload has this timecode") \
    X(NOMEM, -400, RESOURCE, "the host's allocator returned NULL") \
    X(STORE_FULL, -401, RESOURCE, "the content store has no room for the frame") \
    X(FRAME_TOO_LARGE, -402, RESOURCE, "the frame is larger than the whole content store allows") \
    X(STREAM_COUNT, -403, RESOURCE, "the client holds as many streams as it was made for") \
    X(METADATA_COUNT, -404, RESOURCE, "too many metadata entries wait for the next fragment") \
    X(ORDER_FULL, -405, RESOURCE, "too many frames wait for another track; the tracks' times are too far apart") \
    X(TIMED_OUT, -406, RESOURCE, "the documented time limit has passed") \
    X(DESCRIBE_FAILED, -500, SERVICE, "DescribeStream failed and its retries are spent") \
    X(CREATE_FAILED, -501, SERVICE, "CreateStream failed and its retries are spent") \
    X(TAG_FAILED, -502, SERVICE, "TagStream failed; the stream goes on without its tags") \
    X(ENDPOINT_FAILED, -503, SERVICE, "GetDataEndpoint failed and its retries are spent") \
    X(TOKEN_FAILED, -504, SERVICE, "no streaming credentials could be had and the retries are spent") \
    X(PUT_MEDIA_FAILED, -505, SERVICE, "PutMedia failed and its retries are spent") \
    X(NOT_AUTHORIZED, -506, SERVICE, "there are no credentials that the service accepts") \
    X(BAD_REQUEST, -507, SERVICE, "the service refused the request as invalid") \
    X(NOT_FOUND, -508, SERVICE, "the stream does not exist and may not be created") \
    X(STREAM_DELETING, -509, SERVICE, "the stream is being deleted") \
    X(SERVICE_LIMIT, -510, SERVICE, "a limit of the service or of the account has been reached") \
    X(SERVICE_ERROR, -511, SERVICE, "the service answered with an error") \
    X(BAD_ANSWER, -512, SERVICE, "the answer lacks a field or has an impossible value") \
    X(TOKEN_EXPIRY, -513, SERVICE, "the credentials expire in less than 30 seconds") \
    X(SESSION_LIMIT, -514, SERVICE, "more PutMedia sessions are open on this stream than the library keeps") \
    X(ERROR_ACK, -515, SERVICE, "the service refused a fragment") \
    X(CONNECTION_LOST, -516, SERVICE, "the connection ended and the retries without progress are spent") \
    X(AUTH_FAILED, -517, SERVICE, "no credentials could be had for the client") \
    X(PROVISION_FAILED, -518, SERVICE, "the device could not be provisioned") \
    X(CLIENT_TOKEN_FAILED, -519, SERVICE, "the device certificate could not be exchanged for a token") \
    X(CREATE_DEVICE_FAILED, -520, SERVICE, "the device could not be created") \
    X(INTERNAL, -900, INTERNAL, "a fault inside the library; please report it")

#endif
