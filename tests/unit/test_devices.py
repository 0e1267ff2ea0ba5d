"""`cutlayer devices` with serial ports that are not there."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cutlayer_host.commands.devices import devices
from cutlayer_host.errors import TransportError

if TYPE_CHECKING:
    from pathlib import Path


def info(device: str, vid: int | None, pid: int | None, product: str | None) -> Any:
    return SimpleNamespace(device=device, vid=vid, pid=pid, manufacturer=None, product=product)


@pytest.fixture
def no_bluetooth(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> list[Any]:
        raise TransportError("no Bluetooth here")

    monkeypatch.setattr("cutlayer_host.transports.scan_ble", none)


def listed(monkeypatch: pytest.MonkeyPatch, *ports: Any) -> tuple[dict[str, Any], str]:
    monkeypatch.setattr("serialx.list_serial_ports", lambda: list(ports))
    result = CliRunner().invoke(devices, ["--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), CliRunner().invoke(devices, []).stderr


@pytest.mark.usefixtures("no_bluetooth")
def test_boards_are_named_by_their_usb_ids(monkeypatch) -> None:
    found, said = listed(
        monkeypatch,
        info("/dev/nothing1", 0x2341, 0x0042, "Arduino Mega"),
        info("/dev/nothing0", None, None, None),
    )
    first, second = found["devices"]
    assert first["url"] == "serial:///dev/nothing0"
    assert "looks_like" not in first
    assert second["looks_like"] == ["megaatmega2560"]
    assert "cannot open" in second["error"]
    assert "by its USB ids: megaatmega2560" in said


@pytest.mark.usefixtures("no_bluetooth")
def test_port_that_may_not_be_opened_says_how_to(monkeypatch, tmp_path: Path) -> None:
    path = tmp_path / "ttyACM0"
    path.touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    found, said = listed(monkeypatch, info(str(path), 0x2341, 0x0042, "Arduino Mega"))
    assert found["devices"][0]["error"].endswith("you may not open this port")
    assert found["devices"][0]["next"] == "sudo usermod -aG dialout $USER, then log in again"
    assert "you may not open this port\n  next: sudo usermod -aG dialout $USER" in said
