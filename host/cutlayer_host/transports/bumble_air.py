"""Bluetooth without a radio: bumble's controllers on a link in memory."""

from __future__ import annotations

from bumble.controller import Controller
from bumble.device import Device
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

PACKET_BYTES = 251
"""Of a packet between host and controller: as controllers with the data length extension have it."""


class Air(LocalLink):
    """What virtual controllers send each other goes through here."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._count = 0

    def controller(self, name: str, *, packet_bytes: int = PACKET_BYTES) -> Controller:
        """A new controller, with an address of its own."""
        self._count += 1
        controller = Controller(name, link=self, public_address=f"F0:00:00:00:00:{self._count:02X}")
        controller.le_acl_data_packet_length = packet_bytes
        return controller

    def device(self, name: str, *, packet_bytes: int = PACKET_BYTES) -> Device:
        """A device on a new controller, not yet on; it lives in the running event loop."""
        controller = self.controller(name, packet_bytes=packet_bytes)
        host = Host(controller, AsyncPipeSink(controller))
        return Device(name=name, address=Address(str(controller.public_address).split("/")[0]), host=host)
