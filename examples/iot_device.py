"""A device with an AWS IoT certificate: no keys on it, temporary ones are fetched and renewed by themselves.

Install:  pip install 'kvspic[media]'
Run:      python iot_device.py rtsp://camera/1 c1example.credentials.iot.eu-west-1.amazonaws.com camera-7 cameras

The stream has the name of the thing. The folder has device.pem, device.key and AmazonRootCA1.pem; docs/credentials.md
says how the role alias is made.
"""

import contextlib
import sys

import kvspic
from kvspic.sources import open_source


def main(source_name: str, endpoint: str, thing_name: str, role_alias: str, region: str = "eu-west-1") -> None:
    role = kvspic.IotRole(endpoint, thing_name, role_alias)
    # Files are read at each exchange: a renewed certificate needs no restart.
    keys = kvspic.IotCredentials(role, "device.pem", "device.key", ca="AmazonRootCA1.pem")
    with kvspic.Producer(region=region, credentials=keys) as producer, open_source(source_name) as source:
        # wait=False: a device may boot before its network. Frames are kept, and go out when the keys are there.
        with producer.open_stream(thing_name, source.tracks, wait=False, on_event=say) as stream:
            with contextlib.suppress(KeyboardInterrupt):
                stream.put_source(source)
    print(stream.report)


def say(event: kvspic.Event) -> None:
    if isinstance(event, (kvspic.StreamReady, kvspic.StreamFailed, kvspic.CredentialsRotated)):
        print(event, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
