"""A folder of recordings into one stream, each at the time at which it was made, the oldest first.

Install:  pip install 'kvspic[media]'
Run:      python backfill.py garage /srv/recordings

What is uploaded is noted beside the file, so that the program can be run again after whatever stopped it.
"""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import kvspic
from kvspic.sources import Source, SourceError, SourceOptionError, open_file

SUFFIXES = {".mp4", ".mkv", ".mov", ".ts", ".avi"}


def open_recording(path: Path) -> Source:
    """Open a file that begins when it says it does; where it does not say, it ends when it was last written."""
    try:
        return open_file(path, start="file")
    except SourceOptionError:
        with open_file(path) as source:
            length = timedelta(microseconds=(source.duration_ns or 0) // 1000)
        written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        return open_file(path, start=written - length)


def main(stream_name: str, folder: str) -> int:
    if not Path(folder).is_dir():
        print(f"{folder} is no folder: name the one that has the recordings", file=sys.stderr)
        return 2
    paths = [path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES]
    failures = 0
    with kvspic.Producer() as producer:
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            done = path.with_name(path.name + ".uploaded")
            if done.exists():
                continue
            try:
                with open_recording(path) as source:
                    with producer.open_stream(stream_name, source.tracks, offline=True) as stream:
                        stream.put_source(source)
            except (SourceError, kvspic.MediaError) as error:  # this file is broken: the next one may be whole
                print(error, file=sys.stderr)
                failures += 1
                continue
            print(f"{path.name}: {stream.report}")
            if stream.report.is_complete:
                done.touch()
    return min(failures, 1)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
