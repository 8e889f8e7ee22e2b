"""The streams of a bench at the service: their names, and the deletion of those that a run created. By boto3.

A stream that was there before the run is used and left there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from kvspic.bench.workload import WorkloadError
from kvspic.loopback import is_loopback_url

__all__ = ["created_streams", "delete_streams", "stream_names"]

DELETE_INTERVAL_S = 0.25  # an account may delete five streams a second


def stream_names(prefix: str, numbers: Iterable[int]) -> list[str]:
    """Return the names of streams by their numbers."""
    return [f"{prefix}{number:05d}" for number in numbers]


def created_streams(url: str, region: str, names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that are not there yet, which the run will create.

    Raises:
        WorkloadError: the service cannot be asked.
    """
    found = _call(lambda: _existing(_client(url, region), _common_prefix(names)))
    return [name for name in names if name not in found]


def delete_streams(url: str, region: str, names: Sequence[str]) -> None:
    """Delete streams; one that is not there is no error.

    Raises:
        WorkloadError: the service refused; the text says how many are left.
    """
    if not names:
        return
    client = _client(url, region)
    found = _call(lambda: _existing(client, _common_prefix(names)))
    wanted = [found[name] for name in names if name in found]
    for place, arn in enumerate(wanted):
        _delete(client, arn, len(wanted) - place)
        if not is_loopback_url(url):
            time.sleep(DELETE_INTERVAL_S)


def _delete(client: Any, arn: str, left: int) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.delete_stream(StreamARN=arn)
    except (BotoCoreError, ClientError) as error:
        if "ResourceNotFoundException" in str(error):
            return
        raise WorkloadError(f"{left} streams of the run could not be deleted ({error}): delete them.") from error


def _existing(client: Any, prefix: str) -> dict[str, str]:
    """Names and ARNs of the streams with a prefix."""
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": prefix}
    pages = client.get_paginator("list_streams").paginate(StreamNameCondition=condition)
    return {one["StreamName"]: one["StreamARN"] for page in pages for one in page["StreamInfoList"]}


def _common_prefix(names: Sequence[str]) -> str:
    return names[0][:-5]


def _call(call: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        raise WorkloadError(f"The streams cannot be listed ({error}): {_remedy(error)}") from error


def _remedy(error: Exception) -> str:
    """What may help against an error of botocore."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoRegionError):
        return "name a region."
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return "set AWS credentials on the machine of the load."
    if isinstance(error, exceptions.ClientError):
        return "let the credentials list, create and delete streams."
    return "see that the endpoint runs and that its URL is right."


def _client(url: str, region: str) -> Any:
    import boto3
    from botocore.config import Config

    more: dict[str, Any] = {}
    if is_loopback_url(url):  # a local endpoint asks for no keys
        more = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        region = region or "us-east-1"
    config = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard", "max_attempts": 5})
    return boto3.client("kinesisvideo", endpoint_url=url or None, region_name=region or None, config=config, **more)
