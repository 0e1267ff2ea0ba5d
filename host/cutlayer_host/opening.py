"""Opening a device: from a URL to a board that has been greeted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cutlayer_host.device import ANSWER_SECONDS, GREETING_SECONDS, NO_ANSWER_HINT, Device
from cutlayer_host.errors import LinkLost, TransportError
from cutlayer_host.pump import now_ms
from cutlayer_host.transports import at_baud, baud_of, open_transport, urls_to_try

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cutlayer_host.guard import KeyFinder

PATIENCE_SECONDS = 30.0
"""How long a board whose link was lost may take to come back."""

RETRY_SECONDS = 0.2

TRY_SECONDS = 3.0
"""For a greeting at one of several baud rates: opening the port resets some boards, and bootloaders wait."""


async def reopen_device(url: str, patience_seconds: float, *, key: KeyFinder | None) -> Device:
    """Opens a device that may take a while to come back, as a USB port does when its board has reset.

    Raises:
        TransportError, LinkLost: it has not come back for so long.
        WireVersionMismatch, DeviceError: see `open_device`.
    """
    deadline = now_ms() + 1000.0 * patience_seconds
    while True:
        try:
            return await open_device(url, key=key)
        except (TransportError, LinkLost):
            if now_ms() > deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


async def open_device(
    url: str,
    *,
    key: KeyFinder | None,
    greeting_seconds: float = GREETING_SECONDS,
    answer_seconds: float = ANSWER_SECONDS,
) -> Device:
    """Opens a transport by URL and greets the board behind it.

    A serial port that does not tell its board's baud rate is greeted at one after another (`urls_to_try`),
    each for `TRY_SECONDS` at most: a board answers at its own only. `device.url` names the rate that it was.

    Raises:
        TransportError, LinkLost, WireVersionMismatch, DeviceError: see `open_transport` and `Device.open`.
    """
    urls = urls_to_try(url)
    seconds = greeting_seconds if len(urls) == 1 else min(greeting_seconds, TRY_SECONDS)
    for candidate in urls:
        transport = await open_transport(candidate)
        try:
            return await Device.open(
                transport, key=key, greeting_seconds=seconds, answer_seconds=answer_seconds
            )
        except LinkLost:
            if len(urls) == 1:
                raise
    tried = " and ".join(f"{baud_of(candidate):,}" for candidate in urls)
    raise LinkLost(
        f"{url}: no board answered at {tried} baud, {seconds:g} s each",
        f"{NO_ANSWER_HINT}; another rate: {at_baud(url, 57_600)}",
    )


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: KeyFinder | None,
    greeting_seconds: float = GREETING_SECONDS,
    answer_seconds: float = ANSWER_SECONDS,
) -> AsyncIterator[Device]:
    """`open_device`, closed at the end."""
    device = await open_device(url, key=key, greeting_seconds=greeting_seconds, answer_seconds=answer_seconds)
    try:
        yield device
    finally:
        await device.close()
