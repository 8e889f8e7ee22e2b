"""boto3 clients as users make them, with an address of their own and no retries."""

import boto3
from botocore.config import Config

__all__ = ["client"]


def client(service, url, key="test", secret="test", verify=None):
    """A client that signs with ``key`` and ``secret`` and talks to ``url``."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
        verify=verify,
    )
