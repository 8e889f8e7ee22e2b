"""The stub that is checked in. Goal: it says what bench.proto says, field by field."""

import re
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf")

import kvspic.bench.proto as proto
from kvspic.bench.proto import bench_pb2

FILE = Path(proto.__file__).with_name("bench.proto")
TYPES = {
    "double": 1,
    "int64": 3,
    "uint64": 4,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
    "Command": 14,
    "Status": 14,
}


def written():
    """{message: {field: (number, type)}} and {enum: {name: number}} as bench.proto has them."""
    text = re.sub(r"//.*", "", FILE.read_text(encoding="utf-8"))
    messages, enums = {}, {}
    for name, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        for enum, values in re.findall(r"enum (\w+) \{(.*?)\}", body, re.DOTALL):
            enums[f"{name}.{enum}"] = {key: int(value) for key, value in re.findall(r"(\w+) = (\d+);", values)}
        body = re.sub(r"enum \w+ \{.*?\}", "", body, flags=re.DOTALL)
        fields = re.findall(r"(\w+) (\w+) = (\d+);", body)
        messages[name] = {field: (int(number), TYPES[kind]) for kind, field, number in fields}
    return messages, enums


def test_the_stub_has_the_fields_and_numbers_of_the_file():
    messages, enums = written()
    found = bench_pb2.DESCRIPTOR.message_types_by_name
    assert {
        name: {field.name: (field.number, field.type) for field in message.fields} for name, message in found.items()
    } == messages
    assert {
        f"{name}.{enum.name}": {value.name: value.number for value in enum.values}
        for name, message in found.items()
        for enum in message.enum_types
    } == enums
    assert len(messages["ControlMessage"]) == 14
    assert len(messages["LiveStats"]) == 32


def test_the_one_call_streams_both_ways():
    service = bench_pb2.DESCRIPTOR.services_by_name["Agent"]
    assert service.full_name == proto.SERVICE
    (method,) = service.methods
    assert (method.name, method.input_type.name, method.output_type.name) == (
        proto.METHOD, "ControlMessage", "LiveStats",
    )  # fmt: skip
    text = FILE.read_text(encoding="utf-8")
    assert "rpc ExecuteWorkload(stream ControlMessage) returns (stream LiveStats);" in text
