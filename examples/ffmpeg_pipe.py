"""Whatever ffmpeg can read: a capture card, a screen, another server. It encodes into a pipe.

Install:  apt install ffmpeg; pip install 'kvspic[media]'
Run:      python ffmpeg_pipe.py desk -f v4l2 -i /dev/video0
          python ffmpeg_pipe.py pattern -re -f lavfi -i testsrc2=size=640x360:rate=25
"""

import contextlib
import subprocess
import sys

import kvspic
from kvspic.sources import open_source

# A key frame every two seconds; no B frames and no look-ahead, so that a picture leaves as soon as it is there.
ENCODE = "-an -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -force_key_frames expr:gte(t,n_forced*2)"


def main(stream_name: str, *ffmpeg_input: str) -> int:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", *ffmpeg_input, *ENCODE.split(), "-f", "mpegts", "-"]
    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as ffmpeg,
        open_source(ffmpeg.stdout) as source,
        kvspic.Producer() as producer,
        producer.open_stream(stream_name, source.tracks) as stream,
    ):
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends ffmpeg too
            stream.put_source(source)
    print(stream.report)
    return ffmpeg.returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
