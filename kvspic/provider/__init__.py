"""What the core's actions ask for: service calls, credentials and the PutMedia connection.

The modules are imported one by one, at first use, by the layers above: importing this package loads nothing,
so ``import kvspic`` stays free of boto3, ssl and asyncio.
"""

__all__: list[str] = []
