"""What the endpoint counts while it runs, and the text of it for Prometheus. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Counts"]


@dataclass
class Counts:
    """Counters since the start. Names of the text begin with ``kvspic_endpoint_``."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By operation and by the HTTP status or the name of the error."""
    acks: Counter[str] = field(default_factory=Counter)
    """By event; of an ERROR by its name."""
    bytes_received: int = 0

    def text(self, streams: int, uploads: int) -> str:
        """Return the exposition text; ``streams`` and ``uploads`` are how many there are now."""
        lines = [
            _head("requests_total", "counter", "Requests by operation and outcome."),
            *(
                f'kvspic_endpoint_requests_total{{operation="{_label(operation)}",outcome="{_label(outcome)}"}} {count}'
                for (operation, outcome), count in sorted(self.requests.items())
            ),
            _head("acks_total", "counter", "Fragment ACKs by event, of an ERROR by its name."),
            *(
                f'kvspic_endpoint_acks_total{{event="{_label(event)}"}} {count}'
                for event, count in sorted(self.acks.items())
            ),
            _head("received_bytes_total", "counter", "Bytes of PutMedia bodies."),
            f"kvspic_endpoint_received_bytes_total {self.bytes_received}",
            _head("streams", "gauge", "Streams that exist."),
            f"kvspic_endpoint_streams {streams}",
            _head("uploads", "gauge", "PutMedia connections that are open."),
            f"kvspic_endpoint_uploads {uploads}",
        ]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, words: str) -> str:
    return f"# HELP kvspic_endpoint_{name} {words}\n# TYPE kvspic_endpoint_{name} {kind}"


def _label(text: str) -> str:
    """Names of errors may be a user's own, from a script of faults."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
