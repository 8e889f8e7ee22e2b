"""Clips of what moves: nothing is uploaded until something does, and then ten seconds of before are uploaded too.

Install:  pip install 'kvspic[media]' opencv-python-headless
Run:      python motion_clips.py door
"""

import contextlib
import sys
import time
from datetime import timedelta

import cv2
import numpy

import kvspic
from kvspic.sources import NumpyEncoder

MOVED = 8.0  # mean difference of two small gray pictures, of 255
BEFORE, AFTER = timedelta(seconds=10), timedelta(seconds=20)


class Motion:
    """Says whether a picture differs from the one before."""

    def __init__(self) -> None:
        self._before: numpy.ndarray | None = None

    def is_in(self, picture: numpy.ndarray) -> bool:
        small = picture[::8, ::8].mean(axis=2)  # every eighth pixel, gray
        before, self._before = self._before, small
        return before is not None and float(numpy.abs(small - before).mean()) > MOVED


def main(stream_name: str, device: int = 0) -> None:
    camera = cv2.VideoCapture(device)
    if not camera.isOpened():
        sys.exit(f"Camera {device} cannot be opened: plug it in, and end the program that uses it.")
    width, height = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))
    fps = camera.get(cv2.CAP_PROP_FPS) or 30  # some drivers do not say
    encoder, motion = NumpyEncoder(width, height, fps=fps, pixel_format="bgr24"), Motion()
    with kvspic.Producer() as producer, producer.open_stream(stream_name, encoder.track, pre_roll=BEFORE) as stream:
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                is_there, picture = camera.read()
                if not is_there:
                    break
                if motion.is_in(picture):
                    stream.trigger(AFTER)  # once more while it moves makes the clip longer
                for frame in encoder.encode(picture, time.time_ns()):
                    stream.put_frame(frame.data, **frame.put_options(0))
    camera.release()
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
