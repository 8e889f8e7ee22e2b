"""Status numbers of the field for recorded examples: our statuses by name -> the number that the examples name.

Examples bind the class of an error; the numbers are those that the C producer SDK of AWS documents. A few of ours stand
for two of theirs: then the operation decides.
"""

from __future__ import annotations

from kvspic._lib import ffi, lib

__all__ = ["OK", "hex_of", "status_named"]

OK = "00000000"
INTERNAL = "0000000c"

NUMBERS = {
    "NULL_ARG": 0x00000001,
    "INVALID_ARG": 0x00000002,
    "CONFIG_SIZE": 0x00000003,
    "NOMEM": 0x00000004,
    "BUFFER_TOO_SMALL": 0x00000005,
    "INTERNAL": 0x0000000C,
    "TIMED_OUT": 0x0000000F,
    "FRAME_DATA": 0x32000001,
    "FRAME_TIMESTAMP": 0x32000002,
    "CLUSTER_DURATION": 0x32000003,
    "CONTENT_TYPE_SIZE": 0x32000004,
    "NUMBER_TOO_BIG": 0x32000005,
    "CODEC_ID_SIZE": 0x32000006,
    "TRACK_NAME_SIZE": 0x32000007,
    "CPD_SIZE": 0x32000008,
    "CPD_NULL": 0x32000009,
    "TIMECODE_SCALE": 0x3200000A,
    "FRAME_TIMESTAMP_RANGE": 0x3200000B,
    "LARGE_TIMECODE": 0x3200000C,
    "ANNEXB_FRAME": 0x3200000D,
    "AVCC_FRAME": 0x3200000E,
    "NAL_FLAGS": 0x3200000F,
    "ANNEXB_CPD": 0x32000010,
    "CPD_FORMAT": 0x32000012,
    "SPS_WIDTH": 0x32000013,
    "SPS_HEIGHT": 0x32000014,
    "SPS_NALU": 0x32000015,
    "BIH": 0x32000016,
    "HEVC_NALU_COUNT": 0x32000017,
    "HEVC_FORMAT": 0x32000018,
    "HEVC_NALU_SIZE": 0x3200001A,
    "SPS_CHROMA_FORMAT": 0x3200001B,
    "SPS_RESERVED": 0x3200001C,
    "CPD_TOO_SHORT": 0x3200001D,
    "MISSING_NALUS": 0x3200001E,
    "TAG_NAME_SIZE": 0x32000020,
    "TAG_VALUE_SIZE": 0x32000021,
    "METADATA_VALUE": 0x32000021,
    "AAC_FREQUENCY": 0x32000023,
    "AAC_CHANNELS": 0x32000024,
    "AAC_CPD": 0x32000025,
    "UNKNOWN_TRACK": 0x32000026,
    "SEGMENT_UUID": 0x32000027,
    "TRACK_UID": 0x32000028,
    "CLIENT_ID_SIZE": 0x32000029,
    "PCM_CPD": 0x3200002A,
    "MISSING_SPS": 0x3200002B,
    "MISSING_PPS": 0x3200002C,
    "TAG_PARENT": 0x3200002D,
    "SPS_BITS": 0x41000001,
    "STREAM_COUNT": 0x52000001,
    "STREAM_NAME": 0x52000009,
    "STORE_SIZE": 0x5200000A,
    "CLIENT_STATE": 0x5200000E,
    "STREAM_STATE": 0x5200000E,
    "STREAM_STOPPED": 0x5200000E,
    "UPLOAD_STATE": 0x5200000E,
    "NOT_AUTHORIZED": 0x52000010,
    "DESCRIBE_FAILED": 0x52000011,
    "BAD_ANSWER": 0x52000012,
    "STREAM_DELETING": 0x52000013,
    "BAD_REQUEST": 0x52000014,
    "NOT_FOUND": 0x52000017,
    "CREATE_FAILED": 0x52000019,
    "TOKEN_FAILED": 0x5200002A,
    "ENDPOINT_FAILED": 0x5200002B,
    "PUT_MEDIA_FAILED": 0x5200002D,
    "STORE_FULL": 0x5200002E,
    "FRAME_TOO_LARGE": 0x5200002E,
    "AUTH_FAILED": 0x52000040,
    "CLIENT_TOKEN_FAILED": 0x52000041,
    "PROVISION_FAILED": 0x52000042,
    "CREATE_DEVICE_FAILED": 0x52000043,
    "ACK_NOT_IN_VIEW": 0x52000047,
    "TOKEN_EXPIRY": 0x52000049,
    "DUPLICATE_STREAM": 0x5200004B,
    "RETENTION": 0x5200004C,
    "ACK_KEY_START": 0x5200004D,
    "ACK_DUPLICATE_KEY": 0x5200004E,
    "ACK_VALUE_START": 0x5200004F,
    "ACK_NO_ERROR_ID": 0x52000070,
    "ACK_TOKEN_SIZE": 0x52000071,
    "METADATA_COUNT": 0x52000074,
    "PUT_INTERRUPTED": 0x52000076,
    "METADATA_NAME": 0x52000077,
    "EOFR_NEEDS_KEY_FRAGMENTS": 0x52000078,
    "TRACK_COUNT": 0x52000079,
    "OFFLINE_WITHOUT_ACKS": 0x5200007B,
    "UNKNOWN_UPLOAD": 0x5200007F,
    "DUPLICATE_TRACK": 0x52000081,
    "EOFR_ORDER_MODE": 0x52000084,
    "ORDER_FULL": 0x52000085,
    "DOUBLE_EOFR": 0x5200008A,
    "DUPLICATE_EVENT": 0x5200008B,
    "NO_FRAGMENT": 0x5200008C,
    "EVENT_PREFIX_SIZE": 0x5200008D,
    "EVENT_NAME_SIZE": 0x5200008E,
    "EVENT_VALUE_SIZE": 0x5200008F,
}

# (operation, our status) where the operation decides.
BY_OPERATION = {
    ("annexb_to_hvcc_cpd", "ANNEXB_CPD"): 0x3200001F,
    ("annexb_to_hvcc_cpd", "MISSING_SPS"): 0x41000001,  # the field reads another NAL as if it were the SPS
    ("resolution_h265", "MISSING_SPS"): 0x32000019,
}


def hex_of(status: int, operation: str = "") -> str:
    """Return a status as the examples write it: 8 hex digits, zeros for success and counts."""
    if status >= 0:
        return OK
    name = ffi.string(lib.kvs_status_name(status)).decode()
    number = BY_OPERATION.get((operation, name), NUMBERS.get(name))
    return INTERNAL if number is None else f"{number:08x}"


def status_named(name: str) -> int:
    """Return the number of one of our statuses."""
    index = 0
    while status := lib.kvs_status_at(index):
        if ffi.string(lib.kvs_status_name(status)).decode() == name:
            return int(status)
        index += 1
    raise KeyError(name)
