"""Doubles of libraries whose hardware is not here: what the examples use of each, by the names of the original."""

import sys
import types

import numpy

__all__ = ["Ended", "annexb_frames", "cv2_of", "module", "picamera2_of", "ros_of", "sounddevice_of"]

WIDTH, HEIGHT, FPS = 320, 240, 25


class Ended(KeyboardInterrupt):
    """Ctrl-C, at the moment that a test chooses."""


def module(monkeypatch, name, **members):
    """Let ``import name`` find these members, packages above it included."""
    made = types.ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)
    parent, _, last = name.rpartition(".")
    if parent:
        if parent not in sys.modules:
            module(monkeypatch, parent)
        monkeypatch.setattr(sys.modules[parent], last, made, raising=False)
    return made


def pictures(count, moves_from):
    """A gray scene in which something bright moves from a picture on."""
    for number in range(count):
        picture = numpy.full((HEIGHT, WIDTH, 3), 40, numpy.uint8)
        if number >= moves_from:
            left = 24 * number % WIDTH
            picture[:, left : left + 120] = 250
        yield picture


def cv2_of(monkeypatch, count, moves_from=0, ending=(False, None)):
    """OpenCV with a camera of so many pictures; then it gives ``ending``, or raises it."""
    log = types.SimpleNamespace(is_released=False, is_opened=True)

    class VideoCapture:
        def __init__(self, device):
            self._pictures = pictures(count, moves_from)

        def isOpened(self):
            return log.is_opened

        def get(self, what):
            return {"width": float(WIDTH), "height": float(HEIGHT), "fps": 0.0}[what]

        def read(self):
            picture = next(self._pictures, None)
            if picture is not None:
                return True, picture
            if isinstance(ending, BaseException):
                raise ending
            return ending

        def release(self):
            log.is_released = True

    module(
        monkeypatch, "cv2", VideoCapture=VideoCapture, CAP_PROP_FRAME_WIDTH="width", CAP_PROP_FRAME_HEIGHT="height",
        CAP_PROP_FPS="fps",
    )  # fmt: skip
    return log


def annexb_frames(path):
    """Encoded pictures of a raw H.264 file with the parameter sets in its key frames, and whether each is one."""
    from kvspic.sources import open_file

    with open_file(path) as source:
        for frame in source.frames():
            yield bytes(frame.data), frame.key_frame


def picamera2_of(monkeypatch, clip):
    """picamera2 with an encoder that gives the pictures of a clip, on a thread's call, then waits."""

    class Output:
        def __init__(self, pts=None):
            self.recording = False

        def start(self):
            self.recording = True

        def stop(self):
            self.recording = False

    class H264Encoder:
        def __init__(self, bitrate=None, repeat=True, iperiod=None):
            self.repeat = repeat

    class Picamera2:
        def create_video_configuration(self, main):
            return main

        def configure(self, configuration):
            self.size = configuration["size"]

        def start_recording(self, encoder, output):
            self._output = output
            assert encoder.repeat
            output.start()
            for number, (data, is_key) in enumerate(annexb_frames(clip)):
                output.outputframe(data, is_key, number * 1_000_000 // FPS)

        def stop_recording(self):
            self._output.stop()

    module(monkeypatch, "picamera2", Picamera2=Picamera2)
    module(monkeypatch, "picamera2.encoders", H264Encoder=H264Encoder)
    module(monkeypatch, "picamera2.outputs", Output=Output)


def sounddevice_of(monkeypatch, count, late=()):
    """sounddevice with a microphone that hears a sine for so many reads; Ctrl-C comes then."""

    class InputStream:
        def __init__(self, samplerate, blocksize, channels, dtype):
            assert (channels, dtype) == (1, "float32")
            self._rate, self._number = samplerate, 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size):
            if self._number == count:
                raise Ended
            times = (numpy.arange(size) + self._number * size) / self._rate
            self._number += 1
            return numpy.sin(times * 2765).astype(numpy.float32).reshape(size, 1), self._number in late

    module(monkeypatch, "sounddevice", InputStream=InputStream)


def ros_of(monkeypatch, messages):
    """rclpy whose ``spin`` gives messages to the node's callback, and ends with Ctrl-C."""
    errors = []

    class Node:
        def __init__(self, name):
            self._callback = None

        def create_subscription(self, kind, topic, callback, qos):
            self._callback = callback

        def get_logger(self):
            return types.SimpleNamespace(error=lambda text, once=False: errors.append(text))

        def destroy_node(self):
            self._callback = None

    def spin(node):
        for message in messages:
            node._callback(message)
        raise Ended

    module(monkeypatch, "rclpy", init=lambda args: None, spin=spin)
    module(
        monkeypatch, "rclpy.executors", ExternalShutdownException=type("ExternalShutdownException", (Exception,), {})
    )
    module(monkeypatch, "rclpy.node", Node=Node)
    module(monkeypatch, "rclpy.qos", qos_profile_sensor_data=None)
    module(monkeypatch, "sensor_msgs.msg", Image=object)
    return errors
