"""An RTSP camera on loopback: GStreamer's RTSP server, as Debian packages it. Run by the system's Python, which has gi.

Usage: rtsp_server.py PORT CLIP. Prints its port once it listens. ``/cam`` has the clip's video, ``/av`` both tracks,
``/udp`` the video over UDP only. Each client gets the clip from its start, at its own pace.
"""

import sys

import gi

__all__ = []

VIDEO = "d.video_0 ! queue ! rtph264pay name=pay0 pt=96 config-interval=-1"
AUDIO = "d.audio_0 ! queue ! rtpmp4gpay name=pay1 pt=97"


def main(port, clip):
    for name in ("Gst", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for path, branches in (("/cam", VIDEO), ("/av", f"{VIDEO} {AUDIO}"), ("/udp", VIDEO)):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( filesrc location={clip} ! qtdemux name=d {branches} )")
        if path == "/udp":
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
