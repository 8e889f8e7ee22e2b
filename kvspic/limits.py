"""Limits of the service that a program meets long after the call that breaks them. Pure; each is checked at the call.

A fragment that is too long, a reserved name or a tag too many is refused by the service with the first fragment or with
TagStream, when frames are already lost. Source: AWS developer guide, "Kinesis Video Streams service quotas" and
"PutMedia"; API reference, TagStream and CreateStream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from kvspic import errors
from kvspic.types import StreamOptions

__all__ = ["check_metadata_names", "check_options"]

FRAGMENT_DURATION_MAX = timedelta(seconds=20)
FRAGMENT_DURATION_MIN_MAX = timedelta(seconds=10)
MAX_DELAY_MAX = timedelta(seconds=1)
RETENTION_MAX = timedelta(hours=87_600)
TAGS_MAX = 50
TAG_KEY_MAX, TAG_VALUE_MAX = 128, 256
KMS_KEY_ID_MAX = 2048
TAG_TEXT = re.compile(r"[\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000.:/=+\-@]*")


def check_options(options: StreamOptions) -> None:
    """Refuse options that the service would refuse later.

    Raises:
        ClusterDurationError, RetentionError, TagNameSizeError, TagValueSizeError, InvalidArgError: with the limit.
    """
    if options.fragment_duration > FRAGMENT_DURATION_MAX:
        text = f"fragment_duration is {options.fragment_duration}; the service takes fragments of at most 20 s"
        raise errors.named("CLUSTER_DURATION", text)
    shortest = options.fragment_duration_min
    if shortest is not None and not timedelta(0) <= shortest <= FRAGMENT_DURATION_MIN_MAX:
        text = f"fragment_duration_min is {shortest}; give 0 to 10 s (the service takes fragments of 1 to 20 s)"
        raise errors.named("CLUSTER_DURATION", text)
    if not timedelta(0) <= options.max_delay <= MAX_DELAY_MAX:
        raise errors.named("INVALID_ARG", f"max_delay is {options.max_delay}; give 0 to 1 s")
    if options.retention > RETENTION_MAX:
        text = f"retention is {options.retention}; the service keeps media for at most 87600 hours"
        raise errors.named("RETENTION", text)
    if options.kms_key_id is not None and not 1 <= len(options.kms_key_id) <= KMS_KEY_ID_MAX:
        raise errors.named("INVALID_ARG", f"kms_key_id has 1 to {KMS_KEY_ID_MAX} characters")
    _check_tags(options.tags)


def check_metadata_names(names: Iterable[str]) -> None:
    """Refuse names of fragment metadata that the service keeps for itself: those that begin with AWS, in any case.

    Raises:
        MetadataNameError: says which.
    """
    for name in names:
        if name[:3].upper() == "AWS":
            text = f"the metadata name {name!r} begins with AWS, which the service refuses in any case: choose another"
            raise errors.named("METADATA_NAME", text)


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise errors.named("INVALID_ARG", f"there are {len(tags)} tags; a stream has at most {TAGS_MAX}")
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_MAX:
            text = f"the tag key {key[:20]!r} has {len(key)} characters; it has 1 to {TAG_KEY_MAX}"
            raise errors.named("TAG_NAME_SIZE", text)
        if len(value) > TAG_VALUE_MAX:
            text = f"the value of the tag {key!r} has {len(value)} characters; it has at most {TAG_VALUE_MAX}"
            raise errors.named("TAG_VALUE_SIZE", text)
        if key[:4].lower() == "aws:":
            text = f"the tag key {key!r} begins with aws:, which the service keeps for itself"
            raise errors.named("INVALID_ARG", text)
        if TAG_TEXT.fullmatch(key) is None or TAG_TEXT.fullmatch(value) is None:
            text = f"the tag {key!r} has other characters than letters, digits, blanks and _.:/=+-@"
            raise errors.named("INVALID_ARG", text)
