"""An endpoint in a process of its own that is killed with SIGKILL and started again on the same port."""

import contextlib
import subprocess
import sys
import threading
import time

from kvspic.local.server import LocalEndpoint

__all__ = ["KillableEndpoint"]

SERVER = """
import asyncio, ssl, sys
from kvspic.local.server import LocalEndpoint
tls = None
if sys.argv[2]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[2])
keys = dict(pair.split(":") for pair in sys.argv[4:]) or None
endpoint = LocalEndpoint(
    data_dir=sys.argv[1], ssl_context=tls, port=int(sys.argv[3]), access_keys=keys, is_insecure=True
)
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""


class KillableEndpoint:
    """``back_at`` is when it served again, on the monotonic clock. ``certificate``: of TLS, with its key; empty: none.

    ``access_keys``: id and secret of those who may call; None: anybody.
    """

    def __init__(self, data_dir, certificate, access_keys=None):
        self.url = ""
        self.back_at = 0.0
        self._data_dir = data_dir
        self._certificate = certificate
        self._keys = [f"{name}:{secret}" for name, secret in (access_keys or {}).items()]
        self._thread = None
        self._start("0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._wait_until_back()
        self._kill()

    def kill(self, seconds):
        """Kill it now and start it again after so long."""
        self._wait_until_back()
        self._kill()
        self._thread = threading.Thread(target=self._come_back, args=(seconds,), daemon=True)
        self._thread.start()

    def fragments(self, name):
        """What is stored; the process is ended for it."""
        self._wait_until_back()
        self._kill()
        with LocalEndpoint.run_in_thread(data_dir=self._data_dir) as reader:
            return reader.fragments(name)

    def _wait_until_back(self):
        if self._thread is not None:
            self._thread.join()

    def _come_back(self, seconds):
        time.sleep(seconds)
        self._start(self.url.rpartition(":")[2])
        self.back_at = time.monotonic()

    def _start(self, port):
        command = [sys.executable, "-c", SERVER, str(self._data_dir), str(self._certificate), port, *self._keys]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()

    def _kill(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
