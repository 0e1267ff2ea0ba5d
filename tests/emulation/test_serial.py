"""Serial ports at the right baud rate: the native board behind pseudo-terminals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import termios
import tty

import pytest
from click.testing import CliRunner
from serial_cable import serial_cable, usb_port

from cutlayer_boards.emulator import emulate
from cutlayer_boards.keys import Keys
from cutlayer_host import opening
from cutlayer_host.commands.devices import devices as devices_command
from cutlayer_host.errors import LinkLost, TransportError
from cutlayer_host.opening import connect

MEGA = (0x2341, 0x0042)
ADAPTER = (0x1A86, 0x7523)
CUTLAYER = [sys.executable, "-c", "import sys; from cutlayer_host.cli import main; sys.exit(main())"]


@pytest.fixture
def quick(monkeypatch):
    """Tries that end soon where nobody can answer."""
    monkeypatch.setattr(opening, "TRY_SECONDS", 0.7)


@pytest.fixture
def cable(native, build, tiny_bundle, monkeypatch):
    """cable(baud, hwid): the native board behind a port with these USB ids."""

    @contextlib.asynccontextmanager
    async def plugged(baud, hwid=None):
        async with (
            emulate(native, build(native, tiny_bundle)) as node,
            serial_cable(node.url, baud) as found,
        ):
            monkeypatch.setattr("serialx.list_serial_ports", lambda: [usb_port(found.path, hwid)])
            found.key = node.key
            Keys.default().add(node.device)
            yield found

    return plugged


async def test_port_of_a_known_board_is_opened_at_its_rate_alone(cable):
    async with cable(500_000, MEGA) as port:
        async with connect(port.url, key=port.key) as device:
            assert device.welcome.board == "native"
            assert device.url == f"{port.url}?baud=500000"
        assert port.speeds_seen == [termios.B500000]


@pytest.mark.parametrize("baud", [500_000, 921_600])
@pytest.mark.usefixtures("quick")
async def test_unknown_port_is_tried_at_every_boards_rate(cable, baud):
    async with cable(baud, ADAPTER) as port:
        async with connect(port.path, key=port.key) as device:
            assert device.url == f"{port.url}?baud={baud}"
            assert (await device.stats())["frames_malformed"] >= 0
        rates = [115_200, 500_000, 921_600]
        expected = rates[: rates.index(baud) + 1]
        assert port.speeds_seen == [getattr(termios, f"B{rate}") for rate in expected]


@pytest.mark.usefixtures("quick")
async def test_error_says_what_was_tried(cable):
    async with cable(57_600, None) as port:
        with pytest.raises(LinkLost, match=r"no board answered at 115,200 and 500,000 and 921,600") as raised:
            async with connect(port.url, key=port.key):
                pass
        assert f"{port.url}?baud=57600" in raised.value.hint
        assert "cutlayer flash" in raised.value.hint
        async with connect(f"{port.url}?baud=57600", key=port.key) as device:
            assert device.welcome.board == "native"


async def test_known_board_that_is_silent_names_its_rate(cable):
    async with cable(115_200, MEGA) as port:
        with pytest.raises(LinkLost, match=r"baud=500000: no board answered for 0\.5 s"):
            async with connect(port.url, key=None, greeting_seconds=0.5):
                pass


async def test_port_that_another_program_holds_says_how_to_find_it(cable):
    async with cable(500_000, MEGA) as port, connect(port.url, key=port.key):
        with pytest.raises(TransportError, match="already locked") as raised:
            async with connect(port.url, key=port.key):
                pass
        assert raised.value.hint.endswith(f"fuser {port.path}")


def test_silent_board_is_told_how_to_be_flashed(monkeypatch):
    monkeypatch.setattr("cutlayer_host.commands.devices.GREETING_SECONDS", 0.3)
    end, port = os.openpty()
    tty.setraw(port)
    monkeypatch.setattr("serialx.list_serial_ports", lambda: [usb_port(os.ttyname(port), MEGA)])
    said = CliRunner().invoke(devices_command, []).stderr
    os.close(end)
    os.close(port)
    assert (
        "by its USB ids: megaatmega2560\n  at 500,000 baud: no board answered for 0.3 s\n  next: reset"
        in said
    )
    assert "cutlayer flash megaatmega2560 --bundle DIR" in said


async def run_devices(*arguments):
    process = await asyncio.create_subprocess_exec(
        *CUTLAYER, "devices", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return said.decode(), errors.decode()


async def test_devices_takes_the_rate_and_says_it(cable):
    async with cable(115_200) as port:
        found = json.loads((await run_devices(port.path, "--baud", "115200", "--json"))[0])["devices"][0]
        assert (found["board"], found["baud"]) == ("native", 115_200)
        assert termios.B115200 in port.speeds_seen
        _, said = await run_devices(port.url, "--baud", "115200")
        assert "native, 115,200 baud, firmware" in said
