"""A backend for bleak whose Bluetooth is a bumble device: what `backend=` takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble.core import AdvertisingData
from bumble.device import Peer

from cutlayer_host.transports.bumble_central import BumblePackets

if TYPE_CHECKING:
    from bumble.device import Advertisement, Device

UUIDS = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS


def backends(device: Device, mtu: int) -> dict[str, Any]:
    """Options of BleTransport: both backends on one device, which is on."""
    hooks = {"device": device, "mtu": mtu}
    return {
        "scanner": type("Scanner", (BumbleScanner,), hooks),
        "client": type("Client", (BumbleClient,), hooks),
    }


def text(uuid: Any) -> str:
    return uuid.to_hex_str("-").lower()


class BumbleScanner(BaseBleakScanner):
    device: Device

    def __init__(self, detection_callback: Any, service_uuids: Any, _mode: str, **_options: Any) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        self.device.on("advertisement", self._hear)
        await self.device.start_scanning(active=True, filter_duplicates=False)

    async def stop(self) -> None:
        await self.device.stop_scanning()
        self.device.remove_listener("advertisement", self._hear)

    def _hear(self, heard: Advertisement) -> None:
        uuids = [text(uuid) for uuid in heard.data.get(UUIDS) or []]
        name = heard.data.get(AdvertisingData.COMPLETE_LOCAL_NAME)
        advertised = AdvertisementData(name, {}, {}, uuids, None, heard.rssi, ())
        address = heard.address.to_string(False)
        device = self.create_or_update_device(address, address, name, heard.address, advertised)
        if self.is_allowed_uuid(uuids):
            self.call_detection_callbacks(device, advertised)


class BumbleClient(BaseBleakClient):
    device: Device
    mtu: int
    connection: Any = None

    @property
    def name(self) -> str:
        return "bumble"

    @property
    def mtu_size(self) -> int:
        return self.connection.att_mtu

    @property
    def is_connected(self) -> bool:
        return self.connection is not None

    async def connect(self, _pair: bool, **_options: Any) -> None:
        self.connection = await self.device.connect(self.address, timeout=self._timeout)
        self.connection.on("disconnection", self._disconnection)
        queue = self.device.host.get_data_packet_queue(self.connection.handle)
        self.packets = BumblePackets(queue, asyncio.Event())
        self.peer = Peer(self.connection)
        if self.mtu > 23:
            await self.peer.request_mtu(self.mtu)
        self.services = BleakGATTServiceCollection()
        for found in await self.peer.discover_services():
            service = BleakGATTService(found, found.handle, text(found.uuid))
            self.services.add_service(service)
            for inner in await found.discover_characteristics():
                self.services.add_characteristic(
                    BleakGATTCharacteristic(
                        inner, inner.handle, text(inner.uuid), [], lambda: self.mtu_size - 3, service
                    )
                )

    async def disconnect(self) -> None:
        if self.connection is not None:
            await self.connection.disconnect()

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: Any, response: bool
    ) -> None:
        if self.connection is None:
            raise BleakError("Not connected")
        assert not response
        assert len(data) <= self.mtu_size - 3
        await characteristic.obj.write_value(bytes(data), with_response=False)
        # As a system does, which takes a value only when it has room.
        await self.packets.ready()

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: Any, **_options: Any
    ) -> None:
        await characteristic.obj.subscribe(lambda value: callback(bytearray(value)))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await characteristic.obj.unsubscribe()

    async def pair(self, *_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError

    async def unpair(self, *_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, *_arguments: Any, **_options: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *_arguments: Any, **_options: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError

    def _disconnection(self, _reason: int) -> None:
        self.packets.close()
        self.connection = None
        self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()
