"""A board's end of Bluetooth by bumble: the Nordic UART Service on a bumble device, as a byte pipe.

Joined to the UART of an emulated board, it gives that board a Bluetooth of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bumble.core import UUID, AdvertisingData
from bumble.gatt import Characteristic, CharacteristicValue, Service

from cutlayer_host.transports.bumble_central import BumblePackets
from cutlayer_host.transports.gatt import CarrierGone, GattPipe
from cutlayer_host.transports.nordic_uart import RX, SERVICE, TX, notification_bytes

if TYPE_CHECKING:
    from bumble.device import Connection, Device

ADVERTISING_INTERVAL_MS = 20.0
_GENERAL_DISCOVERY = 2
_NO_CLASSIC = 4
_ADVERTISING_BYTES = 31


class BumblePeripheral(GattPipe):
    """What a board's Bluetooth does: it advertises, takes one host at a time, and carries bytes both ways.

    It reads what the host writes. What is written here waits until a host listens.
    """

    def __init__(self, device: Device, name: str = "cutlayer") -> None:
        """Adds the service to `device`, which must not be on yet."""
        super().__init__(f"ble://{name}")
        self.notifications = 0
        self._device = device
        self._tx: Characteristic[bytes] = Characteristic(
            TX, Characteristic.Properties.NOTIFY, Characteristic.READABLE
        )
        rx: Characteristic[bytes] = Characteristic(
            RX,
            Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(write=lambda _, value: self.receive(value)),
        )
        self._tx.on(self._tx.EVENT_SUBSCRIPTION, self._subscription)
        device.add_service(Service(SERVICE, [rx, self._tx]))
        device.advertising_data, device.scan_response_data = _advertising(name)

    async def start(self) -> None:
        """Switches the device on and advertises, again after each host."""
        await self._device.power_on()
        await self._device.start_advertising(
            auto_restart=True,
            advertising_interval_min=ADVERTISING_INTERVAL_MS,
            advertising_interval_max=ADVERTISING_INTERVAL_MS,
        )

    async def close(self) -> None:
        """See `Transport.close`; switches the device off."""
        await super().close()
        await self._device.power_off()

    def _subscription(self, connection: Connection, notify: bool, _indicate: bool) -> None:
        if notify:
            self.attach(_Subscriber(self, self._device, connection, self._tx))


class _Subscriber:
    """A host that listens."""

    def __init__(
        self,
        peripheral: BumblePeripheral,
        device: Device,
        connection: Connection,
        tx: Characteristic[bytes],
    ) -> None:
        queue = device.host.get_data_packet_queue(connection.handle)
        assert queue is not None, "a host has just asked through it"
        self._peripheral = peripheral
        self._device = device
        self._connection = connection
        self._tx = tx
        self._gone = asyncio.Event()
        self._packets = BumblePackets(queue, self._gone)
        connection.on(connection.EVENT_DISCONNECTION, lambda _: self._leave())

    @property
    def value_bytes(self) -> int:
        """See `Carrier.value_bytes`."""
        return notification_bytes(self._connection.att_mtu)

    async def send(self, value: bytes) -> bool:
        """See `Carrier.send`."""
        if self._gone.is_set():
            raise CarrierGone
        if self._packets.full:
            return False
        await self._device.notify_subscriber(self._connection, self._tx, value)
        self._peripheral.notifications += 1
        return True

    async def ready(self) -> None:
        """See `Carrier.ready`."""
        await self._packets.ready()

    async def close(self) -> None:
        """See `Carrier.close`."""
        if not self._gone.is_set():
            await self._connection.disconnect()

    def _leave(self) -> None:
        self._packets.close()
        self._peripheral.detach(self)


def _advertising(name: str) -> tuple[bytes, bytes]:
    """What is advertised, and what answers a scan: a name that does not fit beside the UUID goes there."""
    services = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
    advertised = [
        (AdvertisingData.FLAGS, bytes([_GENERAL_DISCOVERY | _NO_CLASSIC])),
        (services, bytes(UUID(SERVICE))),
    ]
    named = [(AdvertisingData.COMPLETE_LOCAL_NAME, name.encode())]
    together = bytes(AdvertisingData([*advertised, *named]))
    if len(together) <= _ADVERTISING_BYTES:
        return together, b""
    return bytes(AdvertisingData([*advertised])), bytes(AdvertisingData([*named]))
