"""Any GStreamer pipeline that ends in H.264, by appsink.

Install:  apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
          pip install kvspic              (in a venv that was made with --system-site-packages)
Run:      python gstreamer_appsink.py desk "v4l2src ! videoconvert ! x264enc tune=zerolatency key-int-max=60"
"""

import contextlib
import sys
import time

import gi

import kvspic

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

# config-interval=-1: SPS and PPS before each key frame, where kvspic takes them from.
TAIL = "! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"


def main(stream_name: str, pipeline_text: str) -> None:
    Gst.init(None)
    pipeline = Gst.parse_launch(f"{pipeline_text} {TAIL} ! appsink name=out sync=false")
    out, bus = pipeline.get_by_name("out"), pipeline.get_bus()
    with kvspic.Producer() as producer, producer.open_stream(stream_name, kvspic.H264Track()) as stream:
        begin_ns = time.time_ns()  # when the pipeline's clock is at 0
        pipeline.set_state(Gst.State.PLAYING)
        with contextlib.suppress(KeyboardInterrupt):
            while not out.get_property("eos"):
                sample = out.emit("try-pull-sample", Gst.SECOND // 5)  # does not wait for ever: Ctrl-C is heard
                if sample is not None:
                    put(stream, sample.get_buffer(), begin_ns)
                elif (message := bus.pop_filtered(Gst.MessageType.ERROR)) is not None:
                    print(message.parse_error().gerror.message, file=sys.stderr)
                    break
        pipeline.set_state(Gst.State.NULL)
    print(stream.report)


def put(stream: kvspic.Stream, buffer: Gst.Buffer, begin_ns: int) -> None:
    is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
    stream.put_frame(buffer.extract_dup(0, buffer.get_size()), pts=begin_ns + buffer.pts, key_frame=is_key)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
