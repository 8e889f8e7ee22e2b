"""Pictures that a program makes, as numpy arrays: a plot, a simulation, a thermal camera's matrix.

Install:  pip install 'kvspic[media]'
Run:      python numpy_pictures.py pictures
"""

import sys
import time

import numpy

import kvspic
from kvspic.sources import NumpyEncoder

WIDTH, HEIGHT, FPS = 640, 360, 25


def picture(number: int) -> numpy.ndarray:
    """Height x width x RGB, uint8: a bar that moves."""
    made = numpy.zeros((HEIGHT, WIDTH, 3), numpy.uint8)
    left = 4 * number % WIDTH
    made[:, left : left + 40] = (255, 160, 0)
    return made


def main(stream_name: str, count: int = 250) -> None:
    encoder = NumpyEncoder(WIDTH, HEIGHT, fps=FPS)
    with kvspic.Producer() as producer:
        # offline: the program may be faster than the link. A put then waits for room, and nothing is dropped.
        with producer.open_stream(stream_name, encoder.track, offline=True) as stream:
            begin_ns = time.time_ns() - count * 1_000_000_000 // FPS  # the last picture is now
            for number in range(count):
                for frame in encoder.encode(picture(number)):  # picture n is shown at n / FPS
                    stream.put_frame(frame.data, **frame.put_options(begin_ns))
            for frame in encoder.flush():
                stream.put_frame(frame.data, **frame.put_options(begin_ns))
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
