"""Limits of the service. Goal: what it would refuse when frames are already lost is refused at the call, with the
limit."""

from datetime import timedelta

import pytest

from kvspic import errors
from kvspic.limits import check_metadata_names, check_options
from kvspic.types import StreamOptions

TOO_MUCH = {
    "long fragments": ({"fragment_duration": timedelta(seconds=20, microseconds=1)}, "20 s"),
    "long retention": ({"retention": timedelta(hours=87_601)}, "87600 hours"),
    "tags": ({"tags": {str(i): "" for i in range(51)}}, "at most 50"),
    "no key": ({"tags": {"": "v"}}, "1 to 128"),
    "long key": ({"tags": {"k" * 129: "v"}}, "1 to 128"),
    "long value": ({"tags": {"k": "v" * 257}}, "at most 256"),
    "reserved key": ({"tags": {"aws:cost": "v"}}, "aws:"),
    "reserved key in capitals": ({"tags": {"AwS:cost": "v"}}, "aws:"),
    "character": ({"tags": {"k": "a,b"}}, "letters, digits"),
    "line feed at the end": ({"tags": {"k": "v\n"}}, "letters, digits"),
    "a long delay": ({"max_delay": timedelta(seconds=1, microseconds=1)}, "0 to 1 s"),
    "a delay below zero": ({"max_delay": -timedelta(microseconds=1)}, "0 to 1 s"),
    "no key id": ({"kms_key_id": ""}, "kms_key_id"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_the_service_refuses_later_is_refused_at_the_call(name):
    options, words = TOO_MUCH[name]
    with pytest.raises(errors.UsageError, match=words):
        check_options(StreamOptions(**options))


def test_the_limits_themselves_are_fine():
    check_options(
        StreamOptions(
            fragment_duration=timedelta(seconds=20),
            retention=timedelta(hours=87_600),
            max_delay=timedelta(seconds=1),
            tags={**{str(i): "" for i in range(48)}, "k" * 128: "v" * 256, "stall aws: größe/x": "_.:/=+-@ "},
            kms_key_id="k" * 2048,
        )
    )


@pytest.mark.parametrize("name", ["AWS", "aws", "Aws_Place", "aWSx"])
def test_metadata_names_of_the_service_are_refused_in_any_case(name):
    with pytest.raises(errors.MetadataNameError, match="AWS"):
        check_metadata_names(["place", name])


def test_other_metadata_names_are_fine():
    check_metadata_names(["place", "my-aws", "aw", ""])
