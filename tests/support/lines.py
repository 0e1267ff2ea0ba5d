"""The axis of faults: what a line does to its frames, for every test that has a line."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from cutlayer_host.firmware_link import FirmwareLink
from cutlayer_host.guard import BoardGuard, HostGuard
from cutlayer_host.line import Faults, Line
from cutlayer_host.link import Connected, Link, Lost, Received, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutlayer_host.body import Parameters

FAULTS = {
    "clean": Faults(),
    "1% loss": Faults(loss=0.01),
    "10% loss, 5% corruption": Faults(loss=0.10, corruption=0.05),
    "5% duplication, 5% reordering": Faults(loss=0.02, corruption=0.02, duplication=0.05, reordering=0.05),
}


DEVICE_ID, KEY = bytes(range(1, 9)), bytes(range(100, 132))


def host_end(kind: str, parameters: Parameters, *, seed: int = 0, key: bytes | None = None) -> Any:
    """A host of that kind, python or firmware; with `key` it knows the device DEVICE_ID."""
    rng = random.Random(seed)
    if kind == "firmware":
        return FirmwareLink(Role.HOST, parameters, device_id=DEVICE_ID, key=key, random_bytes=rng.randbytes)
    guard = None if key is None else HostGuard({DEVICE_ID: key}.get, rng.randbytes)
    return Link(Role.HOST, rng=rng, guard=guard)


def board_end(kind: str, parameters: Parameters, *, seed: int = 0, key: bytes | None = None) -> Any:
    """A board of that kind; with `key` it is the device DEVICE_ID."""
    rng = random.Random(seed)
    if kind == "firmware":
        return FirmwareLink(Role.BOARD, parameters, device_id=DEVICE_ID, key=key, random_bytes=rng.randbytes)
    guard = None if key is None else BoardGuard(DEVICE_ID, key, rng.randbytes)
    return Link(Role.BOARD, parameters, guard=guard)


class Inbox:
    """What an end was told."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.connected = 0
        self.lost: list[Lost] = []

    def __call__(self, event: Any) -> None:
        if isinstance(event, Received):
            self.payloads.append(event.payload)
        elif isinstance(event, Connected):
            self.connected += 1
        else:
            self.lost.append(event)


class Pair:
    """Two ends on a line."""

    def __init__(
        self,
        host: str,
        board: str,
        faults: Faults,
        *,
        parameters: Parameters,
        seed: int,
        key: bytes | None = None,
        **options: Any,
    ) -> None:
        self.host: Link | FirmwareLink = host_end(host, parameters, seed=seed, key=key)
        self.board: Link | FirmwareLink = board_end(board, parameters, seed=seed, key=key)
        self.host_inbox, self.board_inbox = Inbox(), Inbox()
        self.line = Line(
            self.host,
            self.board,
            on_host=self.host_inbox,
            on_board=self.board_inbox,
            faults=faults,
            seed=seed,
            **options,
        )

    def connect(self, limit_ms: float = 60_000.0) -> None:
        """Goes on until both ends are connected."""
        goal = self.host_inbox.connected + 1
        if isinstance(self.host, Link):
            self.host.connect(self.line.now_ms)
        else:
            self.host.connect(self.line.now_ms, goal)
        self.line.run(lambda: self.host_inbox.connected >= goal, self.line.now_ms + limit_ms)

    def send(self, down: Iterable[bytes], up: Iterable[bytes]) -> None:
        """Queues messages at both ends."""
        for payload in down:
            self.host.send(payload)
        for payload in up:
            self.board.send(payload)

    def settle(self, limit_ms: float = 600_000.0) -> None:
        """Goes on until all that was sent is acknowledged."""
        self.line.run(lambda: self.host.idle and self.board.idle, self.line.now_ms + limit_ms)
