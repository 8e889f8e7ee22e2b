"""The camera of a Raspberry Pi by picamera2, encoded by the Pi's own H.264 encoder.

Install:  sudo apt install python3-picamera2
          pip install kvspic              (in a venv that was made with --system-site-packages)
Run:      python raspberry_pi.py garden
"""

import contextlib
import sys
import threading
import time

from picamera2 import Picamera2
from picamera2.encoders import H264Encoder
from picamera2.outputs import Output

import kvspic


class KinesisOutput(Output):
    """Puts each encoded picture into a stream, on the encoder's own thread: put_frame never waits for the network."""

    def __init__(self, stream: kvspic.Stream) -> None:
        super().__init__()
        self._stream = stream
        self._begin_ns = 0

    def start(self) -> None:
        super().start()
        self._begin_ns = time.time_ns()

    def outputframe(self, frame, keyframe=True, timestamp=None, packet=None, audio=False) -> None:
        """``timestamp`` is in microseconds since the first picture."""
        self._stream.put_frame(frame, pts=self._begin_ns + timestamp * 1000, key_frame=keyframe)


def main(stream_name: str) -> None:
    camera = Picamera2()
    camera.configure(camera.create_video_configuration(main={"size": (1280, 720)}))
    # repeat: SPS and PPS in each key frame, where kvspic takes them from. iperiod: a key frame every two seconds.
    encoder = H264Encoder(bitrate=2_000_000, repeat=True, iperiod=60)
    with kvspic.Producer() as producer, producer.open_stream(stream_name, kvspic.H264Track()) as stream:
        camera.start_recording(encoder, KinesisOutput(stream))
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        camera.stop_recording()
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
