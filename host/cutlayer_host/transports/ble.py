"""Bluetooth Low Energy through the computer's own Bluetooth, by bleak."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from cutlayer_host.errors import TransportError
from cutlayer_host.transports.gatt import CarrierGone, GattTransport
from cutlayer_host.transports.nordic_uart import RX, SERVICE, TX, BlePeripheral, BleTarget, board_url

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

SCAN_SECONDS = 5.0
LIST_SECONDS = 3.0


class BleTransport(GattTransport):
    """A transport to a board with the Nordic UART Service, by bleak; make one with `open_ble`.

    `scanner` and `client` are bleak's own hook: backends in place of the computer's Bluetooth.
    """

    def __init__(
        self,
        target: BleTarget,
        *,
        scanner: type[BaseBleakScanner] | None = None,
        client: type[BaseBleakClient] | None = None,
        **options: float,
    ) -> None:
        super().__init__(target.url, BleakConnector(target, scanner, client), **options)


class BleakConnector:
    """Finds a board by scanning for its service, and connects."""

    def __init__(
        self,
        target: BleTarget,
        scanner: type[BaseBleakScanner] | None = None,
        client: type[BaseBleakClient] | None = None,
    ) -> None:
        self._target = target
        self._scanner = _backend(scanner)
        self._client = _backend(client)

    async def connect(self, on_value: Callable[[bytes], None], gone: asyncio.Event) -> BleakCarrier:
        """See `Connector.connect`."""
        from bleak import BleakClient
        from bleak.exc import BleakCharacteristicNotFoundError

        url = self._target.url
        client = BleakClient(
            await self._find(),
            disconnected_callback=lambda _: gone.set(),
            services=[SERVICE],
            **self._client,
        )
        carrier = BleakCarrier(client, gone)
        try:
            await client.connect()
            await client.start_notify(TX, lambda _, value: on_value(bytes(value)))
            carrier.open()
        except BleakCharacteristicNotFoundError as error:
            await carrier.close()
            raise TransportError(
                f"{url}: the board has no Nordic UART Service",
                "flash it with a cutlayer firmware built for Bluetooth",
            ) from error
        except _bleak_errors() as error:
            await carrier.close()
            raise TransportError(f"{url}: cannot connect: {_reason(error)}", _NEAR_HINT) from error
        except BaseException:
            await carrier.close()
            raise
        # The same board from now on, also where several have its name.
        if self._target.name is not None:
            self._target = BleTarget(url, client.address.lower(), None)
        return carrier

    async def close(self) -> None:
        """See `Connector.close`: the computer's Bluetooth is nobody's to close."""

    async def _find(self) -> BLEDevice:
        from bleak import BleakScanner

        def matches(device: BLEDevice, advertised: AdvertisementData) -> bool:
            return self._target.matches(device.address, advertised.local_name or device.name)

        try:
            device = await BleakScanner.find_device_by_filter(
                matches, SCAN_SECONDS, service_uuids=[SERVICE], **self._scanner
            )
        except _bleak_errors() as error:
            raise _no_bluetooth(f"{self._target.url}: ", error) from error
        if device is None:
            raise TransportError(
                f"{self._target.url}: no such board advertises here",
                "see the boards with `cutlayer devices`; one that another host has taken does not advertise",
            )
        return device


class BleakCarrier:
    """A connection made by bleak."""

    def __init__(self, client: BleakClient, gone: asyncio.Event) -> None:
        self._client = client
        self._gone = gone
        self._rx: BleakGATTCharacteristic | None = None

    def open(self) -> None:
        """Finds the characteristic to write to, once connected. Raises BleakCharacteristicNotFoundError."""
        from bleak.exc import BleakCharacteristicNotFoundError

        self._rx = self._client.services.get_characteristic(RX)
        if self._rx is None:
            raise BleakCharacteristicNotFoundError(RX)

    @property
    def value_bytes(self) -> int:
        """See `Carrier.value_bytes`; it can grow while a connection is young."""
        return self._open_rx().max_write_without_response_size

    async def send(self, value: bytes) -> bool:
        """See `Carrier.send`; bleak itself waits where the system refuses a value."""
        rx = self._open_rx()
        try:
            await self._client.write_gatt_char(rx, value, response=False)
        except _bleak_errors() as error:
            raise CarrierGone from error
        return True

    async def ready(self) -> None:
        """See `Carrier.ready`; no value is ever refused here."""

    async def close(self) -> None:
        """See `Carrier.close`."""
        with contextlib.suppress(*_bleak_errors()):
            await self._client.disconnect()
        self._gone.set()

    def _open_rx(self) -> BleakGATTCharacteristic:
        # Backends know nothing of a characteristic whose connection has ended, not even its size.
        if self._gone.is_set() or self._rx is None:
            raise CarrierGone
        return self._rx


async def open_ble(url: str) -> GattTransport:
    """Connects to ble://ADDRESS or ble://NAME; with ?hci=CONTROLLER, through bumble.

    Raises:
        TransportError: the URL is of another form, there is no Bluetooth, or no such board is near.
    """
    target = BleTarget.parse(url)
    if target.hci is not None:
        try:
            from cutlayer_host.transports.bumble_central import open_bumble
        except ImportError as error:
            raise TransportError(f"{url}: this needs bumble", "pip install 'cutlayer[bumble]'") from error
        return await open_bumble(target)
    transport = BleTransport(target)
    await transport.open()
    return transport


async def scan_ble(
    seconds: float | None = None, *, scanner: type[BaseBleakScanner] | None = None
) -> list[BlePeripheral]:
    """Lists the boards that advertise the Nordic UART Service, by name.

    Raises:
        TransportError: this computer has no Bluetooth, or it is off or not ours to use.
    """
    from bleak import BleakScanner

    try:
        found = await BleakScanner.discover(
            seconds or LIST_SECONDS, return_adv=True, service_uuids=[SERVICE], **_backend(scanner)
        )
    except _bleak_errors() as error:
        raise _no_bluetooth("", error) from error
    boards = [
        BlePeripheral(board_url(device.address), advertised.local_name or device.name or "")
        for device, advertised in found.values()
    ]
    return sorted(boards, key=lambda board: (board.title, board.url))


def _backend(hook: type | None) -> dict[str, Any]:
    return {} if hook is None else {"backend": hook}


def _bleak_errors() -> tuple[type[Exception], ...]:
    """What bleak raises, and what comes through it from the way to the system's Bluetooth."""
    from bleak.exc import BleakError

    # A TimeoutError is an OSError, too.
    errors: tuple[type[Exception], ...] = (BleakError, OSError, EOFError)
    if sys.platform == "linux":
        from dbus_fast.errors import DBusFastError

        errors = (*errors, DBusFastError)
    return errors


def _no_bluetooth(about: str, error: Exception) -> TransportError:
    return TransportError(
        f"{about}Bluetooth cannot be used on this computer: {_reason(error)}",
        "switch Bluetooth on, or give bumble a controller of its own: ble://NAME?hci=usb:0",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no system service for it"
    return str(error) or type(error).__name__


_NEAR_HINT = "check the board's power and that it is near, and that no other host has taken it"
