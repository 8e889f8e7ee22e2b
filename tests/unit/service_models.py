"""The errors that the service's published models name: botocore carries the models of its three planes."""

import botocore.loaders

PLANES = ("kinesisvideo", "kinesis-video-media", "kinesis-video-archived-media")


def modelled_errors():
    """HTTP status by error name."""
    loader = botocore.loaders.Loader()
    shapes = [shape for plane in PLANES for shape in loader.load_service_model(plane, "service-2")["shapes"].items()]
    return {name: shape["error"]["httpStatusCode"] for name, shape in shapes if shape.get("exception")}
