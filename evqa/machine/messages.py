"""Objects through a socket: the memory of their arrays goes as it is, without a copy more."""

from __future__ import annotations

import pickle
import socket
import struct
import time
from typing import Any


def send(end: socket.socket, value: Any) -> None:
    """Send an object. Raises OSError where the other side has gone."""
    buffers = list[pickle.PickleBuffer]()
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    end.settimeout(None)
    end.sendall(struct.pack(f"<{len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts)))
    for part in parts:
        end.sendall(part)


def receive(end: socket.socket, seconds: float | None = None) -> Any:
    """Receive an object. Raises TimeoutError, and EOFError or OSError where the other side has gone."""
    until = None if seconds is None else time.monotonic() + seconds
    (count,) = struct.unpack("<Q", _exactly(end, 8, until))
    sizes = struct.unpack(f"<{count}Q", _exactly(end, 8 * count, until))
    head, *buffers = [_exactly(end, size, until) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def _exactly(end: socket.socket, num_bytes: int, until: float | None) -> bytearray:
    memory = bytearray(num_bytes)
    left = memoryview(memory)
    while left.nbytes:
        end.settimeout(None if until is None else max(until - time.monotonic(), 1e-3))
        count = end.recv_into(left)
        if not count:
            raise EOFError
        left = left[count:]
    return memory
