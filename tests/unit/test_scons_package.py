"""PlatformIO's tool-scons, made without its registry."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import SCons
from platformio import app, telemetry
from platformio.dependencies import get_core_dependencies

from cutlayer_boards.spec import BOARDS_FOLDER


@pytest.fixture(scope="module")
def platform() -> Any:
    return SimpleNamespace(**runpy.run_path(str(BOARDS_FOLDER / "platform" / "platform.py")))


@pytest.mark.usefixtures("platform")
def test_platform_keeps_platformio_silent(monkeypatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("PlatformIO starts to send")

    monkeypatch.setattr(telemetry.threading, "Thread", refuse)
    logger = telemetry.TelemetryLogger()
    logger._events.append({"name": "cmd_run", "params": {}})
    telemetry.on_exit()
    assert app.get_setting("enable_telemetry") is False
    logger._events.clear()


def test_pinned_scons_is_what_platformio_asks_for(platform) -> None:
    package_version, version = platform.scons_versions()
    assert get_core_dependencies()["tool-scons"] == f"~{package_version}"
    assert version == SCons.__version__


def test_package_runs_and_is_made_once(platform, tmp_path) -> None:
    folder = platform.ensure_scons(tmp_path / "packages")
    said = subprocess.run(
        [sys.executable, folder / "scons.py", "--version"], capture_output=True, text=True, check=True
    )
    assert f"v{SCons.__version__}" in said.stdout
    metadata = json.loads((folder / ".piopm").read_text())
    assert metadata["spec"]["owner"] == "platformio"
    made = (folder / "package.json").stat().st_ino
    assert platform.ensure_scons(tmp_path / "packages") == folder
    assert (folder / "package.json").stat().st_ino == made
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


def test_another_scons_is_fetched(platform, tmp_path, monkeypatch) -> None:
    commands = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(platform.place_scons.__globals__["subprocess"], "run", run)
    platform.place_scons(tmp_path, "1.2.3")
    assert commands[0][-1] == "scons==1.2.3"
    assert not Path(tmp_path / "SCons").exists()
