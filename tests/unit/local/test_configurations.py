"""Configurations and signaling channels. Goal: what boto3 sets is kept and described; bad values are refused."""

import asyncio

import pytest
from botocore.exceptions import ClientError
from unit.local.aws import client

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.image_writer import ImageWriter
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import open_source

IMAGES = {
    "Status": "ENABLED",
    "ImageSelectorType": "PRODUCER_TIMESTAMP",
    "DestinationConfig": {"Uri": "s3://bucket/prefix", "DestinationRegion": "us-east-1"},
    "SamplingInterval": 3000,
    "Format": "JPEG",
    "FormatConfig": {"JPEGQuality": "80"},
    "WidthPixels": 320,
}
NOTIFICATIONS = {"Status": "ENABLED", "DestinationConfig": {"Uri": "sns://topic"}}
HUB = "arn:aws:iot:us-east-1:123456789012:thing/hub"
EDGE = {
    "HubDeviceArn": HUB,
    "RecorderConfig": {
        "MediaSourceConfig": {
            "MediaUriSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:camera",
            "MediaUriType": "RTSP_URI",
        }
    },
}


def refused(call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    return caught.value.response["Error"]["Code"]


def test_configurations_survive_a_restart(tmp_path):
    for is_first in (True, False):
        with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited()) as endpoint:
            control = client("kinesisvideo", endpoint.url)
            if is_first:
                control.create_stream(StreamName="cam", DataRetentionInHours=24)
                control.update_image_generation_configuration(StreamName="cam", ImageGenerationConfiguration=IMAGES)
                control.update_notification_configuration(StreamName="cam", NotificationConfiguration=NOTIFICATIONS)
            answer = control.describe_image_generation_configuration(StreamName="cam")
            assert answer["ImageGenerationConfiguration"] == IMAGES
            answer = control.describe_notification_configuration(StreamName="cam")
            assert answer["NotificationConfiguration"] == NOTIFICATIONS


def test_pictures_are_written_where_the_bucket_would_be(tmp_path, media_dir):
    settings = Settings.unlimited(account="210987654321")
    with LocalEndpoint.run_in_thread(tmp_path / "data", settings=settings) as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=24)
        wanted = {**IMAGES, "SamplingInterval": 1000}
        control.update_image_generation_configuration(StreamName="cam", ImageGenerationConfiguration=wanted)
        writer = ImageWriter(endpoint._hub, tmp_path / "images")
        asyncio.run(writer.look())
        with open_source(str(media_dir / "h264_baseline_320x240_25fps.mp4")) as source:
            assert Upload(UploadPlan(source, "cam", endpoint_url=endpoint.url)).run().is_complete
        asyncio.run(writer.look())
        begin_ms = endpoint.fragments("cam")[0].producer_hns // 10_000
    files = sorted((tmp_path / "images" / "bucket" / "prefix").iterdir())
    named = [file.stem.split("_")[:3] for file in files]
    assert named == [["210987654321", "cam", str(begin_ms + second * 1000)] for second in range(8)]
    assert all(file.suffix == ".jpg" and file.read_bytes()[:2] == bytes.fromhex("ffd8") for file in files)


def test_a_configuration_that_is_left_out_is_removed(control, camera):
    control.update_image_generation_configuration(StreamName="cam", ImageGenerationConfiguration=IMAGES)
    control.update_image_generation_configuration(StreamName="cam")
    assert "ImageGenerationConfiguration" not in control.describe_image_generation_configuration(StreamName="cam")


@pytest.mark.parametrize(
    "change",
    [{"SamplingInterval": 199}, {"SamplingInterval": 20_001}, {"WidthPixels": 3841}, {"Format": "GIF"},
     {"DestinationConfig": {"Uri": "no uri", "DestinationRegion": "us-east-1"}}, {"FormatConfig": {}}],
    ids=str,
)  # fmt: skip
def test_a_value_past_the_published_limits_is_refused(control, camera, change):
    call = control.update_image_generation_configuration
    code = refused(call, StreamName="cam", ImageGenerationConfiguration={**IMAGES, **change})
    assert code == "InvalidArgumentException"


def test_a_stream_that_keeps_nothing_has_no_configurations(control):
    control.create_stream(StreamName="unkept")
    call = control.update_notification_configuration
    code = refused(call, StreamName="unkept", NotificationConfiguration=NOTIFICATIONS)
    assert code == "NoDataRetentionException"


def test_the_storage_tier_changes_by_version(control, camera):
    version = control.describe_stream(StreamName="cam")["StreamInfo"]["Version"]
    tier = {"DefaultStorageTier": "WARM"}
    call = control.update_stream_storage_configuration
    call(StreamName="cam", CurrentVersion=version, StreamStorageConfiguration=tier)
    answer = control.describe_stream_storage_configuration(StreamName="cam")
    assert (answer["StreamName"], answer["StreamStorageConfiguration"]) == ("cam", tier)
    code = refused(call, StreamName="cam", CurrentVersion=version, StreamStorageConfiguration=tier)
    assert code == "VersionMismatchException"


def test_edge_configurations_wait_for_an_agent_that_never_comes(control, camera):
    assert refused(control.describe_edge_configuration, StreamName="cam") == "StreamEdgeConfigurationNotFoundException"
    assert refused(control.delete_edge_configuration, StreamName="cam") == "StreamEdgeConfigurationNotFoundException"
    assert control.start_edge_configuration_update(StreamName="cam", EdgeConfig=EDGE)["SyncStatus"] == "SYNCING"
    assert control.describe_edge_configuration(StreamName="cam")["EdgeConfig"] == EDGE
    listed = control.list_edge_agent_configurations(HubDeviceArn=HUB)["EdgeConfigs"]
    assert [one["StreamName"] for one in listed] == ["cam"]
    assert control.list_edge_agent_configurations(HubDeviceArn=HUB + "2")["EdgeConfigs"] == []
    control.delete_edge_configuration(StreamName="cam")
    assert refused(control.describe_edge_configuration, StreamName="cam") == "StreamEdgeConfigurationNotFoundException"


def test_a_signaling_channel_lives_as_a_record(control, camera):
    arn = control.create_signaling_channel(ChannelName="door")["ChannelARN"]
    assert refused(control.create_signaling_channel, ChannelName="door") == "ResourceInUseException"
    info = control.describe_signaling_channel(ChannelName="door")["ChannelInfo"]
    assert (info["ChannelARN"], info["ChannelStatus"], info["ChannelType"]) == (arn, "ACTIVE", "SINGLE_MASTER")
    ttl = {"MessageTtlSeconds": 30}
    control.update_signaling_channel(ChannelARN=arn, CurrentVersion=info["Version"], SingleMasterConfiguration=ttl)
    changed = control.describe_signaling_channel(ChannelARN=arn)["ChannelInfo"]
    assert (changed["SingleMasterConfiguration"], changed["Version"] == info["Version"]) == (ttl, False)
    code = refused(control.delete_signaling_channel, ChannelARN=arn, CurrentVersion=info["Version"])
    assert code == "VersionMismatchException"
    control.delete_signaling_channel(ChannelARN=arn, CurrentVersion=changed["Version"])
    assert refused(control.describe_signaling_channel, ChannelName="door") == "ResourceNotFoundException"


def test_channels_are_listed_in_pages(control):
    for name in ("b", "a", "c"):
        control.create_signaling_channel(ChannelName=name)
    first = control.list_signaling_channels(MaxResults=2)
    rest = control.list_signaling_channels(MaxResults=2, NextToken=first["NextToken"])
    names = [one["ChannelName"] for page in (first, rest) for one in page["ChannelInfoList"]]
    assert names == ["a", "b", "c"]
    assert "NextToken" not in rest


def test_a_channel_may_store_its_media_in_a_stream(control, camera):
    arn = control.create_signaling_channel(ChannelName="door")["ChannelARN"]
    answer = control.describe_media_storage_configuration(ChannelARN=arn)
    assert answer["MediaStorageConfiguration"]["Status"] == "DISABLED"
    wanted = {"Status": "ENABLED", "StreamARN": camera}
    control.update_media_storage_configuration(ChannelARN=arn, MediaStorageConfiguration=wanted)
    assert control.describe_media_storage_configuration(ChannelARN=arn)["MediaStorageConfiguration"] == wanted
    mapped = control.describe_mapped_resource_configuration(StreamName="cam")["MappedResourceConfigurationList"]
    assert [one["ARN"] for one in mapped] == [arn]
    bad = {"Status": "ENABLED"}
    code = refused(control.update_media_storage_configuration, ChannelARN=arn, MediaStorageConfiguration=bad)
    assert code == "InvalidArgumentException"


def test_a_channel_has_an_address_for_each_protocol(control, endpoint):
    arn = control.create_signaling_channel(ChannelName="door")["ChannelARN"]
    options = {"Protocols": ["WSS", "HTTPS"], "Role": "MASTER"}
    answer = control.get_signaling_channel_endpoint(ChannelARN=arn, SingleMasterChannelEndpointConfiguration=options)
    host = endpoint.url.split("://")[1]
    assert answer["ResourceEndpointList"] == [
        {"Protocol": "WSS", "ResourceEndpoint": f"ws://{host}"},
        {"Protocol": "HTTPS", "ResourceEndpoint": f"http://{host}"},
    ]


def test_every_operation_of_the_three_models_is_answered(endpoint):
    """None of them is unknown: each is refused for its empty request, or answered."""
    import botocore.session
    from unit.local.test_app import post

    session = botocore.session.get_session()
    for service in ("kinesisvideo", "kinesis-video-media", "kinesis-video-archived-media"):
        model = session.get_service_model(service)
        for name in model.operation_names:
            path = model.operation_model(name).http["requestUri"]
            status, headers, _ = post(endpoint.url, path)
            assert (status, headers.get("x-amzn-ErrorType")) in [
                (200, None), (400, "InvalidArgumentException"), (404, "ResourceNotFoundException")
            ], name  # fmt: skip
