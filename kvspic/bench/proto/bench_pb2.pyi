from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControlMessage(_message.Message):
    __slots__ = ("command", "config_yaml", "agent_id", "path_prefix", "start_timestamp_ns", "shared_storage", "ack_sequence", "agent_index", "num_agents", "run_id", "sequence", "sent_ns", "protocol", "reason")
    class Command(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PING: _ClassVar[ControlMessage.Command]
        START: _ClassVar[ControlMessage.Command]
        ABORT: _ClassVar[ControlMessage.Command]
        ACKNOWLEDGE: _ClassVar[ControlMessage.Command]
        RELEASE_BARRIER: _ClassVar[ControlMessage.Command]
        GOODBYE: _ClassVar[ControlMessage.Command]
        SYNC_STATE: _ClassVar[ControlMessage.Command]
    PING: ControlMessage.Command
    START: ControlMessage.Command
    ABORT: ControlMessage.Command
    ACKNOWLEDGE: ControlMessage.Command
    RELEASE_BARRIER: ControlMessage.Command
    GOODBYE: ControlMessage.Command
    SYNC_STATE: ControlMessage.Command
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    CONFIG_YAML_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_PREFIX_FIELD_NUMBER: _ClassVar[int]
    START_TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    SHARED_STORAGE_FIELD_NUMBER: _ClassVar[int]
    ACK_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AGENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    NUM_AGENTS_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    command: ControlMessage.Command
    config_yaml: str
    agent_id: str
    path_prefix: str
    start_timestamp_ns: int
    shared_storage: bool
    ack_sequence: int
    agent_index: int
    num_agents: int
    run_id: str
    sequence: int
    sent_ns: int
    protocol: int
    reason: str
    def __init__(self, command: _Optional[_Union[ControlMessage.Command, str]] = ..., config_yaml: _Optional[str] = ..., agent_id: _Optional[str] = ..., path_prefix: _Optional[str] = ..., start_timestamp_ns: _Optional[int] = ..., shared_storage: bool = ..., ack_sequence: _Optional[int] = ..., agent_index: _Optional[int] = ..., num_agents: _Optional[int] = ..., run_id: _Optional[str] = ..., sequence: _Optional[int] = ..., sent_ns: _Optional[int] = ..., protocol: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LiveStats(_message.Message):
    __slots__ = ("agent_id", "timestamp_s", "put_ops", "put_bytes", "put_mean_us", "put_p50_us", "put_p95_us", "elapsed_s", "completed", "final_summary", "status", "error_message", "in_prepare_phase", "prepare_objects_created", "prepare_objects_total", "cpu_user_percent", "cpu_system_percent", "cpu_total_percent", "agent_timestamp_ns", "sequence", "current_stage", "stage_name", "at_barrier", "run_id", "echo_sequence", "echo_sent_ns", "received_ns", "histograms", "rss_bytes", "gaps", "clamped", "started_ns")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[LiveStats.Status]
        READY: _ClassVar[LiveStats.Status]
        RUNNING: _ClassVar[LiveStats.Status]
        ERROR: _ClassVar[LiveStats.Status]
        COMPLETED: _ClassVar[LiveStats.Status]
        ABORTED: _ClassVar[LiveStats.Status]
        ACKNOWLEDGE: _ClassVar[LiveStats.Status]
    UNKNOWN: LiveStats.Status
    READY: LiveStats.Status
    RUNNING: LiveStats.Status
    ERROR: LiveStats.Status
    COMPLETED: LiveStats.Status
    ABORTED: LiveStats.Status
    ACKNOWLEDGE: LiveStats.Status
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_S_FIELD_NUMBER: _ClassVar[int]
    PUT_OPS_FIELD_NUMBER: _ClassVar[int]
    PUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PUT_MEAN_US_FIELD_NUMBER: _ClassVar[int]
    PUT_P50_US_FIELD_NUMBER: _ClassVar[int]
    PUT_P95_US_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FINAL_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    IN_PREPARE_PHASE_FIELD_NUMBER: _ClassVar[int]
    PREPARE_OBJECTS_CREATED_FIELD_NUMBER: _ClassVar[int]
    PREPARE_OBJECTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CPU_USER_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CPU_SYSTEM_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CPU_TOTAL_PERCENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    AT_BARRIER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ECHO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ECHO_SENT_NS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_NS_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    CLAMPED_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    timestamp_s: float
    put_ops: int
    put_bytes: int
    put_mean_us: float
    put_p50_us: float
    put_p95_us: float
    elapsed_s: float
    completed: bool
    final_summary: bytes
    status: LiveStats.Status
    error_message: str
    in_prepare_phase: bool
    prepare_objects_created: int
    prepare_objects_total: int
    cpu_user_percent: float
    cpu_system_percent: float
    cpu_total_percent: float
    agent_timestamp_ns: int
    sequence: int
    current_stage: int
    stage_name: str
    at_barrier: bool
    run_id: str
    echo_sequence: int
    echo_sent_ns: int
    received_ns: int
    histograms: bytes
    rss_bytes: int
    gaps: int
    clamped: int
    started_ns: int
    def __init__(self, agent_id: _Optional[str] = ..., timestamp_s: _Optional[float] = ..., put_ops: _Optional[int] = ..., put_bytes: _Optional[int] = ..., put_mean_us: _Optional[float] = ..., put_p50_us: _Optional[float] = ..., put_p95_us: _Optional[float] = ..., elapsed_s: _Optional[float] = ..., completed: bool = ..., final_summary: _Optional[bytes] = ..., status: _Optional[_Union[LiveStats.Status, str]] = ..., error_message: _Optional[str] = ..., in_prepare_phase: bool = ..., prepare_objects_created: _Optional[int] = ..., prepare_objects_total: _Optional[int] = ..., cpu_user_percent: _Optional[float] = ..., cpu_system_percent: _Optional[float] = ..., cpu_total_percent: _Optional[float] = ..., agent_timestamp_ns: _Optional[int] = ..., sequence: _Optional[int] = ..., current_stage: _Optional[int] = ..., stage_name: _Optional[str] = ..., at_barrier: bool = ..., run_id: _Optional[str] = ..., echo_sequence: _Optional[int] = ..., echo_sent_ns: _Optional[int] = ..., received_ns: _Optional[int] = ..., histograms: _Optional[bytes] = ..., rss_bytes: _Optional[int] = ..., gaps: _Optional[int] = ..., clamped: _Optional[int] = ..., started_ns: _Optional[int] = ...) -> None: ...
