"""The throughput benchmark: agents that put a load on Kinesis Video Streams, and the controller that starts them at one
instant, watches them and joins what they measured (``docs/bench.md``). Needs the extra ``bench``.

The two speak ``proto/bench.proto``. An agent runs one workload at a time (``workload.py``); what a run gave is a
``RunRecord`` (``record.py``), of which the reports are made.
"""

from __future__ import annotations

__all__: list[str] = []
