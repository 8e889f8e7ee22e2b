"""A microphone, encoded to AAC; a stream of sound alone.

Install:  apt install libportaudio2; pip install 'kvspic[media]' sounddevice
Run:      python microphone.py nursery
"""

import contextlib
import sys
import time

import av
import sounddevice

import kvspic

RATE, SAMPLES = 48_000, 1024  # an AAC frame has 1024 samples
NS_PER_S = 1_000_000_000


def open_encoder() -> av.AudioCodecContext:
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "mono", "fltp", 64_000
    encoder.open()
    return encoder


def main(stream_name: str) -> None:
    encoder = open_encoder()
    track = kvspic.AacTrack(sample_rate=RATE, channels=1, cpd=bytes(encoder.extradata))
    with (
        kvspic.Producer() as producer,
        producer.open_stream(stream_name, track) as stream,
        sounddevice.InputStream(RATE, SAMPLES, channels=1, dtype="float32") as microphone,
        contextlib.suppress(KeyboardInterrupt),
    ):
        begin_ns, count = time.time_ns(), 0
        while True:
            samples, was_late = microphone.read(SAMPLES)  # SAMPLES x 1
            if was_late:
                print("Samples were lost: this machine is too busy.", file=sys.stderr)
                begin_ns = time.time_ns() - count * NS_PER_S // RATE
            frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, count
            count += SAMPLES
            for packet in encoder.encode(frame):
                at_ns = packet.pts * NS_PER_S // RATE
                stream.put_frame(bytes(packet), pts=begin_ns + at_ns, duration=SAMPLES * NS_PER_S // RATE)
    print(stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
