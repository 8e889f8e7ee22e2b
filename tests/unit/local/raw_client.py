"""A PutMedia client of sockets alone: it sends on request and reads what has come, so tests see each step."""

import json
import socket
from urllib.parse import urlsplit

TIMEOUT = 10


class Upload:
    """One PutMedia request, open for bytes."""

    def __init__(self, url, stream="cam", tls=None, **headers):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=parts.hostname)
        self._in = self.socket.makefile("rb")
        names = {
            "host": parts.netloc,
            "x-amzn-stream-name": stream,
            "x-amzn-fragment-timecode-type": "ABSOLUTE",
            "x-amzn-producer-start-timestamp": "0",
            "transfer-encoding": "chunked",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}" for name, value in names.items() if value is not None]
        self.socket.sendall(("POST /putMedia HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        self._acks = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._in.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self):
        self.socket.sendall(b"0\r\n\r\n")

    def head(self):
        """Status and headers of the answer."""
        line = self._in.readline()
        if not line:
            raise EOFError("the connection ended without an answer")
        status = int(line.split()[1])
        headers = {}
        while line := self._in.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def refusal(self):
        """Status, error name and message of an answer that is no upload."""
        status, headers = self.head()
        body = json.loads(self._in.read(int(headers["content-length"])))
        return status, headers["x-amzn-errortype"], body.get("Message") or body.get("message")

    def ack(self):
        """The next ACK, or None when the answer ended as it should; EOFError when it broke off."""
        while b"\n" not in self._acks:
            data = self._chunk()
            if not data:
                return None
            self._acks += data
        line, _, self._acks = self._acks.partition(b"\n")
        return json.loads(line)

    def _chunk(self):
        size = int(self._in.readline() or b"-1", 16)
        if size < 0:
            raise EOFError("the answer has no terminator")
        return self._in.read(size + 2)[:-2]

    def chunks(self):
        """The chunks of the answer as they were written."""
        return iter(self._chunk, b"")

    def acks(self):
        """All ACKs to the end."""
        return list(iter(self.ack, None))

    def events(self):
        return [ack["EventType"] for ack in self.acks()]

    def is_over(self):
        """Wait until the other side closed the connection; the answer's last chunk may come before that."""
        try:
            return self._in.read() in (b"", b"0\r\n\r\n")
        except ConnectionResetError:
            return True


def put(url, body, stream="cam", **headers):
    """Upload a whole body; return its ACKs."""
    with Upload(url, stream, **headers) as upload:
        upload.send(body)
        upload.end()
        assert upload.head()[0] == 200
        return upload.acks()
