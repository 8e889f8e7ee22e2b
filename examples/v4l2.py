"""A USB camera that compresses itself (H.264 or Motion JPEG), by V4L2: nothing is encoded on this machine.

Install:  pip install 'kvspic[media]'
Run:      python v4l2.py desk /dev/video0

A camera that is unplugged is connected to again when it is back. One that has raw pictures only: see webcam.py.
"""

import contextlib
import sys

import kvspic
from kvspic.sources import LiveSettings, SourceError, open_source


def main(stream_name: str, device: str = "/dev/video0") -> None:
    with kvspic.Producer() as producer, open_source(device, live=LiveSettings(give_up_s=600)) as camera:
        camera.on_notice = print  # unplugged, back again, another resolution: one sentence each
        with producer.open_stream(stream_name, camera.tracks) as stream:
            with contextlib.suppress(KeyboardInterrupt):
                stream.put_source(camera)
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except SourceError as error:  # one sentence with cause and remedy
        sys.exit(str(error))
