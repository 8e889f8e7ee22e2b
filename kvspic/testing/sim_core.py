"""The real core with its chance taken from a seed: a client whose host has no random numbers of its own."""

from __future__ import annotations

from typing import Any

from kvspic import _lib
from kvspic._lib import ClientHandle, check, ffi, lib, new_struct
from kvspic.core import ACTIONS_PER_READ, Client

__all__ = ["SeededClient"]


class SeededClient(Client):
    """A client of which the same calls always give the same actions: jitter and UUIDs come from ``seed`` (above 0)."""

    def __init__(self, now_hns: int, *, store_size: int, seed: int) -> None:
        config = new_struct("kvs_client_config")
        config.store_max = store_size
        config.seed = seed
        self._handle = _SeededHandle(config, now_hns)
        self.wake_fd = self._handle.wake_fd
        self._actions = ffi.new("struct kvs_action[]", ACTIONS_PER_READ)
        self._action_bytes = memoryview(ffi.buffer(self._actions))


class _SeededHandle(ClientHandle):
    """As its base, but without the host's random function, which would win over the seed."""

    def __init__(self, config: Any, now_hns: int) -> None:
        wake_out, fd_out = ffi.new("struct kvs_host_wake **"), ffi.new("intptr_t *")
        check(lib.kvs_host_wake_new(wake_out, fd_out))
        self.wake_fd = int(fd_out[0])
        host = ffi.new("struct kvs_host *")
        lib.kvs_host_init(host, wake_out[0])
        host.random = ffi.NULL
        out = ffi.new("struct kvs_client **")
        status = lib.kvs_client_new(host, config, now_hns, out)
        if status < 0:
            lib.kvs_host_wake_free(wake_out[0])
            check(status)
        address = _lib._address(out[0])
        _lib._users[address] = {_lib._HANDLE}
        _lib._wakes[address] = wake_out[0]
        self.ptr = ffi.gc(out[0], _lib._client_unused)
