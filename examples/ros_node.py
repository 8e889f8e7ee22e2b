"""A ROS 2 node: pictures of a topic, encoded to H.264, at the times of their headers. Any callback looks like this one.

Install:  pip install 'kvspic[media]'     (for the Python of ROS)
Run:      python ros_node.py robot-7 --ros-args --remap image:=/camera/image_raw
"""

import contextlib
import sys

import numpy
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

import kvspic
from kvspic.sources import NumpyEncoder


class KinesisNode(Node):
    def __init__(self, producer: kvspic.Producer, stream_name: str) -> None:
        super().__init__("kinesis_video")
        self._producer, self._name = producer, stream_name
        self._encoder: NumpyEncoder | None = None
        self.stream: kvspic.Stream | None = None
        self.create_subscription(Image, "image", self.on_image, qos_profile_sensor_data)

    def on_image(self, message: Image) -> None:
        if message.encoding != "rgb8":
            self.get_logger().error(f"pictures are {message.encoding}, not rgb8", once=True)
            return
        if self.stream is None:  # the first picture says how large they are
            self._encoder = NumpyEncoder(message.width, message.height, fps=30, pixel_format="rgb24")
            # wait=False: a callback must not wait for the network; frames are kept until the stream is ready.
            self.stream = self._producer.open_stream(self._name, self._encoder.track, wait=False)
        rows = numpy.frombuffer(message.data, numpy.uint8).reshape(message.height, message.step)
        picture = rows[:, : message.width * 3].reshape(message.height, message.width, 3)
        stamp = message.header.stamp
        for frame in self._encoder.encode(picture, stamp.sec * 1_000_000_000 + stamp.nanosec):
            self.stream.put_frame(frame.data, **frame.put_options(0))


def main(stream_name: str, *ros_arguments: str) -> None:
    rclpy.init(args=list(ros_arguments))
    with kvspic.Producer() as producer:
        node = KinesisNode(producer, stream_name)
        with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
            rclpy.spin(node)
        node.destroy_node()
    if node.stream is not None:
        print(node.stream.report)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
