"""The C boundary: the one module that imports the extension. Statuses become exceptions here and nowhere else.

Ownership: a C object is freed when the last Python reference to its pointer is gone, so a thread that is inside a call
keeps alive what it works on, whatever another thread closes meanwhile. A client is freed after all its streams.
No Python code ever runs inside a C call: the host functions are C, and the core wakes the loop through a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvspic import errors
from kvspic._native import ffi, lib

__all__ = [
    "ClientHandle",
    "__version__",
    "check",
    "ffi",
    "keep_stream",
    "lib",
    "new_gate",
    "new_struct",
    "refusal_rows",
    "status_rows",
    "text_of",
]


def check(status: int) -> int:
    """Return a count (or ``KVS_OK``) unchanged; raise the exception that belongs to a negative status."""
    if status >= 0:
        return status
    raise errors.from_status(status)


def text_of(pointer: Any) -> str:
    """Return a C string; empty for NULL."""
    return ffi.string(pointer).decode() if pointer else ""


def new_struct(name: str) -> Any:
    """Return a zeroed ``struct NAME *`` whose size field is set."""
    made = ffi.new(f"struct {name} *")
    made.size = ffi.sizeof(f"struct {name}")
    return made


def status_rows() -> Iterator[errors.StatusRow]:
    """Give the status table of the compiled library."""
    index = 0
    while status := lib.kvs_status_at(index):
        status_class = errors.StatusClass(lib.kvs_status_class_of(status))
        name, text = text_of(lib.kvs_status_name(status)), text_of(lib.kvs_status_text(status))
        yield errors.StatusRow(status, name, status_class, text)
        index += 1


def refusal_rows() -> Iterator[errors.Refusal]:
    """Give the table of ERROR ACKs of the compiled library."""
    index = 0
    while row := lib.kvs_ack_error_at(index):
        about = errors.RefusalClass(row.about)
        yield errors.Refusal(row.id, text_of(row.name), about, text_of(row.text), text_of(row.remedy))
        index += 1


__version__ = text_of(lib.kvs_version())
errors.define(status_rows())
errors.define_refusals(refusal_rows())


class ClientHandle:
    """Owns one C client and its wake-up socket. ``ptr`` is what C calls take; ``wake_fd`` becomes readable (one or more
    bytes) when the action queue goes from empty to not empty; it is closed when the client is freed.

    Args:
        config: ``struct kvs_client_config *``; read during the call only, its strings included.
    """

    def __init__(self, config: Any, now_hns: int) -> None:
        wake_out, fd_out = ffi.new("struct kvs_host_wake **"), ffi.new("intptr_t *")
        check(lib.kvs_host_wake_new(wake_out, fd_out))
        self.wake_fd = int(fd_out[0])
        host = ffi.new("struct kvs_host *")
        lib.kvs_host_init(host, wake_out[0])
        if config.seed:  # a seed is asked for: the host's own randomness would win over it
            host.random = ffi.NULL
        out = ffi.new("struct kvs_client **")
        status = lib.kvs_client_new(host, config, now_hns, out)
        if status < 0:
            lib.kvs_host_wake_free(wake_out[0])
            check(status)
        address = _address(out[0])
        _users[address] = {_HANDLE}
        _wakes[address] = wake_out[0]
        self.ptr = ffi.gc(out[0], _client_unused)

    def close(self) -> None:
        """Give the client up: it is freed once its streams are and no call is inside it. Twice is harmless."""
        self.ptr = ffi.NULL


def keep_stream(client_ptr: Any, stream_ptr: Any) -> Any:
    """Return ``stream_ptr`` as an owner: the stream is freed with its last reference, and the client not before it."""
    client = _address(client_ptr)
    user = object()
    _users[client].add(user)
    _user_of[_address(stream_ptr)] = client, user
    return ffi.gc(stream_ptr, _stream_unused)


def new_gate(stream_ptr: Any) -> Any:
    """Return a ``struct kvspic_gate *`` of a stream that takes any time; it keeps the stream while a put is inside."""
    made = ffi.new("struct kvspic_gate *", {"stream": stream_ptr, "ahead_s": lib.KVSPIC_AHEAD_ANY})
    gate = ffi.gc(made, _gate_unused)
    _behind[_address(gate)] = stream_ptr
    return gate


# Module-level tables and functions, because the collector may clear an object's attributes, a closure included, in any
# order; each single operation on them is atomic, so no lock is needed. An entry of an address leaves before the memory
# does: the next allocation may get the same address.
_users: dict[int, set[object]] = {}  # client address -> who needs the client: its handle and each of its streams
_user_of: dict[int, tuple[int, object]] = {}  # stream address -> client address, and its entry in _users
_wakes: dict[int, Any] = {}
_behind: dict[int, Any] = {}  # gate address -> the stream's owner
_HANDLE = object()


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _gate_unused(gate: Any) -> None:
    _behind.pop(_address(gate), None)


def _stream_unused(stream_ptr: Any) -> None:
    client, user = _user_of.pop(_address(stream_ptr))
    lib.kvs_stream_free(stream_ptr)
    _leave(client, user)


def _client_unused(client_ptr: Any) -> None:
    _leave(_address(client_ptr), _HANDLE)


def _leave(client: int, user: object) -> None:
    users = _users[client]
    users.discard(user)
    if users or _users.pop(client, None) is None:
        return
    wake = _wakes.pop(client)
    lib.kvs_client_free(ffi.cast("struct kvs_client *", client))
    lib.kvs_host_wake_free(wake)
