"""Bluetooth Low Energy through bumble: a stack in Python that drives a controller by itself.

For machines whose system has no Bluetooth (a USB dongle is enough) and for tests, whose controllers are
bumble's own, in memory. It is an optional dependency: pip install 'cutlayer[bumble]'.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Device, Peer
from bumble.hci import Address
from bumble.transport import open_transport as open_controller

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.gatt import CarrierGone, GattTransport
from cutlayer_host.transports.nordic_uart import (
    DEFAULT_MTU,
    MTU,
    RX,
    SERVICE,
    TX,
    VALUE_HEADER_BYTES,
    BleTarget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bumble.device import Advertisement, Connection
    from bumble.gatt_client import CharacteristicProxy, ServiceProxy
    from bumble.host import DataPacketQueue
    from bumble.transport.common import Transport as Controller

T = TypeVar("T")

SCAN_SECONDS = 5.0
CONNECT_SECONDS = 5.0
EXCHANGE_SECONDS = 5.0
"""For all that is asked of a board before it can be used."""


class BumbleTransport(GattTransport):
    """A transport to a board with the Nordic UART Service, by a bumble device that the caller powers on."""

    def __init__(self, target: BleTarget, device: Device, *, mtu: int = MTU, **options: float) -> None:
        super().__init__(target.url, BumbleConnector(target, device, mtu), **options)


class BumbleConnector:
    """Finds a board by scanning for its service, and connects."""

    def __init__(
        self, target: BleTarget, device: Device, mtu: int = MTU, controller: Controller | None = None
    ) -> None:
        """`controller` is closed with the connector."""
        self._target = target
        self._device = device
        self._mtu = mtu
        self._controller = controller

    async def connect(self, on_value: Callable[[bytes], None], gone: asyncio.Event) -> BumbleCarrier:
        """See `Connector.connect`."""
        url = self._target.url
        try:
            address = await self._find()
            connection = await self._device.connect(address, timeout=CONNECT_SECONDS)
        except (BaseBumbleError, TimeoutError) as error:
            raise TransportError(f"{url}: cannot connect: {error!r}", _NEAR_HINT) from error
        connection.on(connection.EVENT_DISCONNECTION, lambda _: gone.set())
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                rx = await _unless(gone, self._subscribe(connection, on_value))
        except (BaseBumbleError, TimeoutError, CarrierGone) as error:
            await _disconnect(connection)
            raise TransportError(f"{url}: the board does not answer: {error!r}", _NEAR_HINT) from error
        except BaseException:
            await _disconnect(connection)
            raise
        self._target = BleTarget(url, _text(connection.peer_address), None)
        return BumbleCarrier(connection, rx, self._queue(connection), gone)

    async def close(self) -> None:
        """See `Connector.close`."""
        controller, self._controller = self._controller, None
        if controller is not None:
            with contextlib.suppress(BaseBumbleError, TimeoutError):
                await self._device.power_off()
            await controller.close()

    async def _find(self) -> Address:
        """The address of the board, once it has been heard with all that names it."""
        device = self._device
        found: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        services: set[Address] = set()

        def hear(advertisement: Advertisement) -> None:
            # The service's UUID and the name may come in two packets.
            address, data = advertisement.address, advertisement.data
            if _advertises(data):
                services.add(address)
            matches = self._target.matches(_text(address), _name(data))
            if matches and address in services and not found.done():
                found.set_result(address)

        device.on(device.EVENT_ADVERTISEMENT, hear)
        try:
            await device.start_scanning(active=True, filter_duplicates=False)
            try:
                async with asyncio.timeout(SCAN_SECONDS):
                    return await found
            except TimeoutError:
                raise TransportError(
                    f"{self._target.url}: no such board advertises here",
                    "check its name and its power; a board that another host has taken does not advertise",
                ) from None
            finally:
                await device.stop_scanning()
        finally:
            device.remove_listener(device.EVENT_ADVERTISEMENT, hear)

    async def _subscribe(
        self, connection: Connection, on_value: Callable[[bytes], None]
    ) -> CharacteristicProxy[bytes]:
        """Makes the connection ready; returns the characteristic to write to."""
        peer = Peer(connection)
        if self._mtu > DEFAULT_MTU:
            await peer.request_mtu(self._mtu)
        services = await peer.discover_service(SERVICE)
        if not services:
            raise self._no_service()
        await services[0].discover_characteristics()
        rx, tx = (self._characteristic(services[0], uuid) for uuid in (RX, TX))
        await tx.subscribe(on_value)
        return rx

    def _characteristic(self, service: ServiceProxy, uuid: str) -> CharacteristicProxy[bytes]:
        for characteristic in service.characteristics:
            if characteristic.uuid == UUID(uuid):
                return characteristic
        raise self._no_service()

    def _no_service(self) -> TransportError:
        return TransportError(
            f"{self._target.url}: the board has no Nordic UART Service",
            "flash it with a cutlayer firmware built for Bluetooth",
        )

    def _queue(self, connection: Connection) -> DataPacketQueue:
        queue = self._device.host.get_data_packet_queue(connection.handle)
        if queue is None:
            raise TransportError(f"{self._target.url}: the connection was lost at once", _NEAR_HINT)
        return queue


class BumblePackets:
    """The queue of packets towards a controller, which bumble lets grow without bound."""

    def __init__(self, queue: DataPacketQueue, gone: asyncio.Event) -> None:
        self._queue = queue
        self._gone = gone
        self._flow = asyncio.Event()
        queue.on("flow", self._flow.set)

    @property
    def full(self) -> bool:
        """Whether another packet would have to wait for the controller."""
        return self._queue.pending >= self._queue.max_in_flight

    async def ready(self) -> None:
        """Waits until it is no more full, or the connection has ended."""
        while self.full and not self._gone.is_set():
            self._flow.clear()
            await self._flow.wait()

    def close(self) -> None:
        """Wakes who waits; call it when the connection has ended."""
        self._gone.set()
        self._flow.set()
        with contextlib.suppress(KeyError):
            self._queue.remove_listener("flow", self._flow.set)


class BumbleCarrier:
    """A connection made by a bumble central."""

    def __init__(
        self,
        connection: Connection,
        rx: CharacteristicProxy[bytes],
        queue: DataPacketQueue,
        gone: asyncio.Event,
    ) -> None:
        self._connection = connection
        self._rx = rx
        self._gone = gone
        self._packets = BumblePackets(queue, gone)
        connection.on(connection.EVENT_DISCONNECTION, lambda _: self._packets.close())

    @property
    def value_bytes(self) -> int:
        """See `Carrier.value_bytes`."""
        return self._connection.att_mtu - VALUE_HEADER_BYTES

    async def send(self, value: bytes) -> bool:
        """See `Carrier.send`."""
        # bumble itself says nothing when it writes to a connection that has ended.
        if self._gone.is_set():
            raise CarrierGone
        if self._packets.full:
            return False
        await self._rx.write_value(value, with_response=False)
        return True

    async def ready(self) -> None:
        """See `Carrier.ready`."""
        await self._packets.ready()

    async def close(self) -> None:
        """See `Carrier.close`."""
        if not self._gone.is_set():
            await _disconnect(self._connection)
        self._packets.close()


async def open_bumble(target: BleTarget) -> GattTransport:
    """Opens the controller that `target` names, and connects through it.

    Raises:
        TransportError: the controller cannot be opened or does not answer, or no such board is near.
    """
    url = target.url
    try:
        controller = await open_controller(str(target.hci))
        device = Device.with_hci(
            "cutlayer host", Address.generate_static_address(), controller.source, controller.sink
        )
    except (BaseBumbleError, OSError, ValueError) as error:
        raise TransportError(f"{url}: cannot open the Bluetooth controller: {error}", _HCI_HINT) from error
    connector = BumbleConnector(target, device, controller=controller)
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            await device.power_on()
    except (BaseBumbleError, TimeoutError) as error:
        await controller.close()
        raise TransportError(f"{url}: the controller does not answer: {error!r}", _HCI_HINT) from error
    transport = GattTransport(url, connector)
    await transport.open()
    return transport


async def _unless(gone: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Does `work` unless the connection ends before; raises CarrierGone then."""
    task = asyncio.create_task(work)
    end = asyncio.create_task(gone.wait())
    try:
        await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not task.cancelled():
            return task.result()
        raise CarrierGone
    finally:
        task.cancel()
        end.cancel()
        await asyncio.gather(task, end, return_exceptions=True)


async def _disconnect(connection: Connection) -> None:
    with contextlib.suppress(BaseBumbleError, TimeoutError):
        async with asyncio.timeout(EXCHANGE_SECONDS):
            await connection.disconnect()


def _text(address: Address) -> str:
    return str(address.to_string(with_type_qualifier=False)).lower()


def _advertises(data: AdvertisingData) -> bool:
    kinds = (
        AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    )
    return any(isinstance(uuids := data.get(kind), list) and UUID(SERVICE) in uuids for kind in kinds)


def _name(data: AdvertisingData) -> str | None:
    for kind in (AdvertisingData.COMPLETE_LOCAL_NAME, AdvertisingData.SHORTENED_LOCAL_NAME):
        if name := data.get(kind):
            return str(name)
    return None


_NEAR_HINT = "check the board's power and that it is near, and that no other host has taken it"
_HCI_HINT = "name a controller as bumble does: hci=usb:0, hci=serial:/dev/ttyACM0, hci=tcp-client:HOST:PORT"
