"""ACK lines. Goal: the bytes are those of the service, so that any parser made for it reads ours."""

from kvspic.local.acks import Ack, AckError


def test_the_lines_are_those_of_the_service():
    persisted = b'{"EventType":"PERSISTED","FragmentTimecode":5000,"FragmentNumber":"91"}\n'
    assert Ack("PERSISTED", 5000, "91").line() == persisted
    assert Ack("IDLE").line() == b'{"EventType":"IDLE"}\n'
    error = Ack("ERROR", 0, "91", AckError.FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS).line()
    assert error == (
        b'{"EventType":"ERROR","FragmentTimecode":0,"FragmentNumber":"91",'
        b'"ErrorCode":"FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS","ErrorId":4004}\n'
    )


def test_an_error_without_a_fragment_names_none():
    line = Ack("ERROR", error=AckError.INVALID_MKV_DATA).line()
    assert line == b'{"EventType":"ERROR","ErrorCode":"INVALID_MKV_DATA","ErrorId":4006}\n'
