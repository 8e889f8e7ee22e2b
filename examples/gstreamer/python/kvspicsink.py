"""A GStreamer element in Python with the names of kvssink's properties: `kvssink` becomes `kvspicsink` in a command.

Install:  apt install gstreamer1.0-tools gstreamer1.0-python3-plugin-loader python3-gst-1.0 gir1.2-gst-plugins-base-1.0
          pip install kvspic (in a venv of the system's Python, and export PYTHONPATH=VENV/lib/python3.*/site-packages)
Run:      GST_PLUGIN_PATH=gstreamer gst-launch-1.0 -e v4l2src ! x264enc ! h264parse ! kvspicsink stream-name=desk
"""

import time

import gi

import kvspic

gi.require_version("GstBase", "1.0")
from gi.repository import GObject, Gst, GstBase  # noqa: E402

CAPS = Gst.Caps("video/x-h264,stream-format=avc,alignment=au; video/x-h265,stream-format=hvc1,alignment=au")


class KvspicSink(GstBase.BaseSink):
    __gstmetadata__ = ("Kinesis Video sink", "Sink/Network", "Uploads H.264 and H.265", "kvspic")
    __gsttemplates__ = Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, CAPS)
    stream_name, aws_region, access_key, secret_key, credential_path = (GObject.Property(type=str) for _ in range(5))
    iot_certificate = GObject.Property(type=Gst.Structure)
    storage_size = GObject.Property(type=int, default=128, blurb="MB of frames in memory")
    streaming_type = GObject.Property(type=int, default=0, blurb="0 or 1: realtime; 2: offline")
    producer = stream = None

    def credentials(self):
        if self.iot_certificate is not None:
            names = ("endpoint", "iot-thing-name", "role-aliases", "cert-path", "key-path", "ca-path")
            *role, certificate, key, ca = map(self.iot_certificate.get_string, names)
            return kvspic.IotCredentials(kvspic.IotRole(*role), certificate, key, ca)
        fixed = kvspic.StaticCredentials(self.access_key, self.secret_key) if self.access_key else None
        return kvspic.FileCredentials(self.credential_path) if self.credential_path else fixed  # None: botocore's chain

    def do_set_caps(self, caps):
        data = caps.get_structure(0).get_value("codec_data")
        cpd = data.extract_dup(0, data.get_size())
        if self.stream is not None:  # the pipeline goes on with another resolution
            self.stream.set_codec_private(1, cpd)
            return True
        track = kvspic.H264Track if caps.get_structure(0).has_name("video/x-h264") else kvspic.H265Track
        keys, size = self.credentials(), self.storage_size << 20
        self.producer = kvspic.Producer(region=self.aws_region, credentials=keys, store_size=size)
        self.stream = self.producer.open_stream(self.stream_name, track(cpd=cpd), offline=self.streaming_type == 2)
        self.set_sync(False)  # upload as it comes, as kvssink does
        self.begin_ns = time.time_ns()  # when the pipeline's clock is at 0
        return True

    def do_render(self, buffer):
        data, is_key = buffer.extract_dup(0, buffer.get_size()), not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        self.stream.put_frame(data, pts=self.begin_ns + buffer.pts, key_frame=is_key)
        return Gst.FlowReturn.OK

    def do_stop(self):
        return self.producer is None or self.producer.close() is not None  # until all is persisted, 30 s at most


__gstelementfactory__ = ("kvspicsink", Gst.Rank.NONE, KvspicSink)
