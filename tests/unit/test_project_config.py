"""PlatformIO's configuration of every board: whole, pinned, and read without a network.

It is all that can be tested here of the boards whose Arduino core PlatformIO fetches.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER, board, boards

FIRMWARE = PROJECT_FOLDER / "firmware"
LOCAL = "symlink://boards/platform"
PINNED = re.compile(r"\w+@\d+\.\d+\.\d+|https://github\.com/[\w./-]+/download/\d+\.\d+\.\d+/[\w-]+\.zip")
FETCHED = {"esp32s3", "nano33ble", "pico", "portenta_h7"}
INTERPRETED = {"nano33ble"}
OVER_BLE = {"esp32s3", "nano33ble", "portenta_h7"}


def run(*arguments: str, core: str) -> str:
    """`pio project config`, where neither registry nor platforms can be had."""
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATFORMIO_")}
    command = [sys.executable, "-m", "platformio", "project", "config", "--json-output", *arguments]
    result = subprocess.run(
        command,
        cwd=PROJECT_FOLDER,
        env={**kept, **nowhere, "PLATFORMIO_CORE_DIR": core, "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = json.loads(run(core=str(tmp_path_factory.mktemp("core"))))
    return {name.removeprefix("env:"): dict(options) for name, options in found if name.startswith("env:")}


def test_platformio_finds_nothing_wrong(tmp_path) -> None:
    said = run("--lint", core=str(tmp_path))
    assert ast.literal_eval(said) == {"errors": [], "warnings": []}  # Python's notation, not JSON


def test_every_board_has_its_environment(environments) -> None:
    for spec in boards():
        assert environments[spec.environment]["board"] == spec.name
    assert {name for name in environments if name.endswith("_ble")} == {f"{name}_ble" for name in OVER_BLE}


def test_an_engine_of_its_own_has_an_environment_and_a_library(environments) -> None:
    for name in INTERPRETED:
        spec, plain, options = board(f"{name}_tflm"), environments[name], environments[f"{name}_tflm"]
        assert (spec.name, spec.environment, spec.engine) == (name, f"{name}_tflm", "tflm")
        assert board(name).engine == "compiled"
        assert options["custom_engine"] == "tflm"
        added = [library for library in options["lib_deps"] if library not in plain["lib_deps"]]
        assert added == ["tflm", "spaziochirale/Chirale_TensorFLowLite@2.0.0"]
        differing = {key for key in {*plain, *options} if plain.get(key) != options.get(key)}
        assert differing == {"custom_engine", "extends", "lib_deps"}
    named = {name for name, options in environments.items() if "custom_engine" in options}
    assert named == {f"{name}_tflm" for name in INTERPRETED}


def test_platforms_and_libraries_are_pinned(environments) -> None:
    for name, options in environments.items():
        platform = options["platform"]
        assert platform == LOCAL or PINNED.fullmatch(platform), name
        for library in options["lib_deps"]:
            assert "/" not in library or re.search(r"/[\w-]+@\d+\.\d+\.\d+$", library), (name, library)
    assert {environments[name]["platform"] for name in FETCHED}.isdisjoint({LOCAL})
    # The official platform stays at core 2.0.17, without ESP_I2S.
    assert "/pioarduino/" in environments["esp32s3"]["platform"]


def test_sources_that_are_named_are_there(environments) -> None:
    for name, options in environments.items():
        named = re.findall(r"\+<([\w./]+)>", " ".join(options["build_src_filter"]))
        assert "src/" in named, name
        assert all((FIRMWARE / path).exists() for path in named), (name, named)


def test_an_arduino_board_has_one_file_of_each_part(environments) -> None:
    for name, options in environments.items():
        named = re.findall(r"arduino/(\w+?)_\w+\.cpp", " ".join(options["build_src_filter"]))
        if named:
            assert sorted(named) == ["link", "machine", "microphone", "recordings"], name


@pytest.mark.parametrize("name", sorted(FETCHED))
def test_boards_of_other_platforms_say_what_those_need(name, environments) -> None:
    options = environments[name]
    assert options["framework"] == ["arduino"]
    assert f'-D CUTLAYER_BOARD=\\"{name}\\"' in options["build_flags"]
    assert "-ffp-contract=off" in options["build_flags"]
    assert not [flag for flag in options["build_flags"] if "-Werror" in flag or "-std" in flag]
    manifest = json.loads((BOARDS_FOLDER / f"{name}.json").read_text())
    assert {"mcu", "f_cpu", "variant", "core", "hwids"} <= set(manifest["build"])
    assert manifest["frameworks"] == ["arduino"]
