"""Giving boards their keys, and taking them away.

A new key is in this computer's file before the board gets it, so that whatever is interrupted, nobody is
locked out: the file then holds a key too many, never one too few.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cutlayer_boards.keys import DeviceKey
from cutlayer_host.codes import ErrorCode
from cutlayer_host.errors import DeviceError, DeviceTimeout, HostError, KeyMismatch, LinkLost, TransportError
from cutlayer_host.opening import PATIENCE_SECONDS, open_device, reopen_device

if TYPE_CHECKING:
    from cutlayer_boards.keys import Keys
    from cutlayer_host.device import Device


async def provision(
    url: str, keys: Keys, name: str | None = None, *, patience_seconds: float = PATIENCE_SECONDS
) -> bytes:
    """Gives a board a new id and a new key, and connects with it. Returns the id.

    A board without a key gets it in plain, over a cable only; one whose key is in `keys` gets it sealed.

    Raises:
        HostError: the board keeps no keys or has one that is not here, or `url` is no cable. `keys` are as
            they were, unless it is not known whether the board took the key.
        KeyFileError: `keys` cannot be changed; the board is as it was.
    """
    device = await _reach(url, keys)
    before = device.welcome.device_id
    fresh = DeviceKey.fresh()
    try:
        keys.add(fresh, name)
        try:
            await device.provision(fresh.device_id, fresh.secret)
        except (DeviceTimeout, LinkLost):
            pass  # whether the board has the key, a connection tells
        except DeviceError as error:
            keys.remove(fresh.device_id)
            if error.code == ErrorCode.KEY:
                raise HostError(
                    f"the firmware of {device.url} is built without keys (CUTLAYER_INSECURE)",
                    "connect to it in plain: --insecure",
                ) from None
            raise
    finally:
        await device.close()
    await _verify(device.url, keys, fresh, patience_seconds)
    keys.remove(before)
    return fresh.device_id


async def forget(url: str, keys: Keys, device_id: bytes) -> None:
    """Has a board drop its key. `keys` stay.

    Raises:
        HostError: the board at `url` is another one, or does not drop it.
    """
    device = await open_device(url, key=keys.find)
    try:
        found = device.welcome.device_id
        if found != device_id:
            raise HostError(
                f"{device.url} is device {found.hex()}, not {device_id.hex()}", "name that board's port"
            )
        await device.forget()
    finally:
        await device.close()


async def _reach(url: str, keys: Keys) -> Device:
    """Connects in plain to a board without a key, else sealed."""
    try:
        device = await open_device(url, key=keys.find)
    except KeyMismatch as refused:
        try:
            device = await open_device(url, key=None)
        except KeyMismatch:
            raise refused from None
        if not is_cable(url):
            await device.close()
            raise HostError(
                f"{url} is no cable: whoever listens would have the key",
                "connect the board by USB or a serial line, and name that port",
            ) from None
    return device


async def _verify(url: str, keys: Keys, key: DeviceKey, patience_seconds: float) -> None:
    try:
        device = await reopen_device(url, patience_seconds, key=key.find)
    except KeyMismatch as error:
        keys.remove(key.device_id)
        raise HostError(f"{url} has not taken its new key", "try again; reset the board first") from error
    except (LinkLost, TransportError) as error:
        raise HostError(
            f"{error}: it is not known whether the board has its new key",
            f"provision it again when it is back; {keys.path} holds that key as device {key.device_id.hex()}",
        ) from error
    await device.close()


def is_cable(url: str) -> bool:
    """Whether what is sent to `url` stays on a cable or within this computer."""
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        host = parts.hostname or ""
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False
    return parts.scheme in {"", "serial", "unix"}
