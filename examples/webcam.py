"""A webcam by OpenCV, encoded to H.264 on this machine.

Install:  pip install 'kvspic[media]' opencv-python-headless
Run:      python webcam.py front-door
"""

import contextlib
import sys
import time

import cv2

import kvspic
from kvspic.sources import NumpyEncoder


def main(stream_name: str, device: int = 0) -> None:
    camera = cv2.VideoCapture(device)
    if not camera.isOpened():
        sys.exit(f"Camera {device} cannot be opened: plug it in, and end the program that uses it.")
    width, height = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))
    fps = camera.get(cv2.CAP_PROP_FPS) or 30  # some drivers do not say
    encoder = NumpyEncoder(width, height, fps=fps, pixel_format="bgr24", bit_rate=2_000_000)
    with kvspic.Producer() as producer, producer.open_stream(stream_name, encoder.track) as stream:
        with contextlib.suppress(KeyboardInterrupt):  # after Ctrl-C what is buffered still goes out
            while True:
                is_there, picture = camera.read()
                if not is_there:
                    print("The camera gives no more pictures.", file=sys.stderr)
                    break
                for frame in encoder.encode(picture, time.time_ns()):
                    stream.put_frame(frame.data, **frame.put_options(0))  # 0: its times count from 1970 already
    camera.release()
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
