"""boto3 clients as users make them, with an address of their own and no retries."""

import boto3
from botocore.config import Config

__all__ = ["client", "close_all"]

_made = []


def close_all():
    """Close every client made so far: a pooled connection left to the collector would end as a warning elsewhere."""
    while _made:
        _made.pop().close()


def client(service, url, key="test", secret="test", verify=None, region="us-east-1"):
    """A client that signs with ``key`` and ``secret`` and talks to ``url``."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
    made = boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
        verify=verify,
    )
    _made.append(made)
    return made
