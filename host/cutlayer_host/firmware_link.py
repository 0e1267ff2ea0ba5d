"""The firmware's own link in this process, with the face of `cutlayer_host.link.Link`.

For lines in virtual time: firmware/port/line/end.c and the core's link.c, compiled once by the machine's C
compiler.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

from cutlayer_boards.third_party import monocypher, monocypher_object
from cutlayer_host.body import Parameters
from cutlayer_host.errors import HostError
from cutlayer_host.guard import DEVICE_ID_BYTES, KEY_BYTES, RandomBytes
from cutlayer_host.link import DEAD_MS, Connected, LinkEvent, Lost, LostReason, Received, Role
from cutlayer_host.wire import MAX_PAYLOAD_BYTES, WIRE_VERSION

ROOT = Path(__file__).resolve().parents[2]
_INCLUDE = ROOT / "firmware" / "include"
_CORE = ROOT / "firmware" / "lib" / "cutlayer" / "src"
_GUARD = ROOT / "firmware" / "lib" / "guard"
_SOURCES = (
    ROOT / "firmware" / "port" / "line" / "end.c",
    _GUARD / "src" / "guard_monocypher.c",
    *(_CORE / name for name in ("link.c", "link_transmit.c", "window.c", "frame.c")),
)
_FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off", "-fPIC")

_OPENED, _LOST, _REFUSED = 1, 2, 4
_NEVER_MS = 0xFFFFFFFF


class FirmwareLinkState(ctypes.Structure):
    """`struct end_state` of end.c."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in (
            *("state", "connection", "room", "outstanding", "payload_max"),
            *("peer_max_payload", "frames_received", "frames_malformed", "data_resent", "frames_again"),
        )
    )


_Random = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32)


class _Security(ctypes.Structure):
    """`struct end_security` of end.c."""

    _fields_ = (
        ("random", _Random),
        ("device_id", ctypes.c_uint8 * DEVICE_ID_BYTES),
        ("key", ctypes.c_uint8 * KEY_BYTES),
    )


def _filler(random_bytes: RandomBytes) -> Any:
    def fill(_context: int | None, data: Any, count: int) -> int:
        ctypes.memmove(data, random_bytes(count), count)
        return 0

    return _Random(fill)


@functools.cache
def _library() -> ctypes.CDLL:
    sources = [*_SOURCES, *_INCLUDE.rglob("*.h"), *_CORE.glob("*.h"), *_GUARD.rglob("*.h")]
    if not all(source.exists() for source in sources):
        raise HostError(f"{ROOT} holds no firmware sources", "run this from a checkout of cutlayer")
    digest = hashlib.sha256(repr(_FLAGS).encode() + b"".join(path.read_bytes() for path in sorted(sources)))
    library = ROOT / "build" / "line" / f"end-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{id(digest):x}.partial")
        includes = (f"-I{_INCLUDE}", f"-I{_CORE}", f"-I{_GUARD / 'include'}", f"-isystem{monocypher()}")
        linked = [*map(str, _SOURCES), str(monocypher_object("cc", "-fPIC"))]
        command = ["cc", *_FLAGS, *includes, "-shared", "-o", str(partial), *linked]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise HostError("there is no C compiler (cc)", "install gcc") from error
        except subprocess.CalledProcessError as error:
            raise HostError(f"the firmware's link does not compile:\n{error.stderr}") from error
        partial.rename(library)
    loaded = ctypes.CDLL(str(library))
    loaded.end_timeout_ms.restype = ctypes.c_uint32
    return loaded


class FirmwareLink:
    """One end of the link, run by the firmware's C. Raises ValueError for parameters that the C refuses.

    With `device_id` and `key` it is, or connects to, the device of that key; without `key` it is plain.
    `random_bytes(count)` gives the nonces.
    """

    def __init__(
        self,
        role: Role,
        parameters: Parameters | None = None,
        *,
        dead_ms: float = DEAD_MS,
        device_id: bytes = bytes(DEVICE_ID_BYTES),
        key: bytes | None = None,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self.role = role
        self.parameters = parameters or Parameters()
        self._c = _library()
        self._end = ctypes.create_string_buffer(self._c.end_bytes())
        self._buffer = ctypes.create_string_buffer(1 << 16)
        self._queue: deque[bytes] = deque()
        self._flags = 0
        self._fill = _filler(random_bytes)  # the C end keeps its address
        result = self._c.end_init(
            self._end,
            1 if role is Role.HOST else 0,
            self.parameters.max_payload,
            self.parameters.window_bytes,
            self.parameters.window_frames,
            int(dead_ms),
            None
            if key is None
            else ctypes.byref(
                _Security(
                    self._fill,
                    (ctypes.c_uint8 * DEVICE_ID_BYTES)(*device_id),
                    (ctypes.c_uint8 * KEY_BYTES)(*key),
                )
            ),
        )
        if result < 0:
            raise ValueError(f"cl_link_init refuses {self.parameters}: {result}")

    @property
    def state(self) -> FirmwareLinkState:
        """Counters and limits, as they are now."""
        state = FirmwareLinkState()
        self._c.end_state(self._end, ctypes.byref(state))
        return state

    @property
    def idle(self) -> bool:
        """Everything sent has been acknowledged."""
        return not self._queue and self.state.outstanding == 0

    def connect(self, now_ms: float, connection: int) -> None:
        """Starts a connection of that number, host's end only."""
        if self._c.end_connect(self._end, connection, int(now_ms)) < 0:
            raise ValueError(f"cl_link_connect refuses connection {connection}")

    def send(self, payload: bytes) -> None:
        """Queues one message of 1 to `state.payload_max` bytes."""
        if not 1 <= len(payload) <= self.state.payload_max:
            raise ValueError(f"a message has {len(payload)} bytes, must have 1 to {self.state.payload_max}")
        self._queue.append(payload)

    def receive(self, data: bytes, now_ms: float) -> list[LinkEvent]:
        """Takes bytes as they come. At most a receive buffer full at a time, as a UART's ring would give."""
        events: list[LinkEvent] = []
        most = self.parameters.window_bytes
        for first in range(0, max(len(data), 1), most):
            part = data[first : first + most]
            self._c.end_receive(self._end, part, len(part), int(now_ms))
            self._collect(events)
        return events

    def transmit(self, now_ms: float, max_bytes: int | None = None) -> bytes:
        """What to write to the pipe now, at most `max_bytes`: a UART takes parts of frames."""
        while self._queue and self.state.room:
            self._c.end_send(self._end, self._queue[0], len(self._queue[0]))
            self._queue.popleft()
        capacity = min(len(self._buffer), len(self._buffer) if max_bytes is None else max_bytes)
        count = self._c.end_transmit(self._end, self._buffer, capacity, int(now_ms))
        self._flags |= self._c.end_events(self._end)
        return self._buffer.raw[:count]

    def next_timeout_ms(self, now_ms: float) -> float | None:
        """The ms after which to call `receive` and `transmit` at the latest; None: when there is news."""
        if self._flags or (self._queue and self.state.room):
            return 0.0
        timeout_ms = self._c.end_timeout_ms(self._end, int(now_ms))
        return None if timeout_ms == _NEVER_MS else float(timeout_ms)

    def _collect(self, events: list[LinkEvent]) -> None:
        flags = self._flags | self._c.end_events(self._end)
        self._flags = 0
        if flags & _REFUSED:
            events.append(Lost(LostReason.VERSION, WIRE_VERSION))
        elif flags & _LOST:
            self._queue.clear()
            events.append(Lost(LostReason.RESET))
        if flags & _OPENED:
            self._queue.clear()
            state = self.state
            events.append(Connected(Parameters(state.peer_max_payload)))
        payload = ctypes.create_string_buffer(MAX_PAYLOAD_BYTES)
        while count := self._c.end_message(self._end, payload):
            events.append(Received(payload.raw[:count]))
