"""An IP camera by RTSP, its frames as they come. Outages of the camera and of the uplink lose nothing that was there.

Install:  pip install 'kvspic[media]'
Run:      python rtsp.py yard rtsp://user:password@camera/stream1
"""

import contextlib
import signal
import sys

import kvspic
from kvspic.sources import LiveSettings, SourceError, open_source


def main(stream_name: str, url: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # `systemctl stop` is an orderly end too
    with kvspic.Producer() as producer, open_source(url, live=LiveSettings(read_timeout_s=5)) as camera:
        camera.on_notice = print
        # The spool keeps frames in files until the service has them: through a dead uplink, a crash, a reboot.
        with producer.open_stream(stream_name, camera.tracks, spool="spool", spool_size=4 << 30) as stream:
            with contextlib.suppress(KeyboardInterrupt):
                stream.put_source(camera)  # reconnects for ever
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except SourceError as error:  # the first connection failed: the sentence says why, without the password
        sys.exit(str(error))
