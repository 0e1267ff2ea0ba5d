"""Every board is one JSON and one ini that agree with each other and with the linker script."""

from __future__ import annotations

import configparser
import itertools
import json
import re
from typing import TYPE_CHECKING

import pytest

from cutlayer_boards.errors import BoardError
from cutlayer_boards.recordings import flash_image
from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER, BoardSpec, board, boards

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = [
    "qemu_mps2_an385",
    "qemu_mps2_an500",
    "qemu_mps2_an505",
    "qemu_mps3_an547",
    "netduinoplus2",
    "stm32f4_discovery",
    "nrf52840dk",
    "lm3s6965evb",
    "microbit",
]

CHIP_LINES_MAX = 150
CHIPS = {path.parent.name: path for path in (PROJECT_FOLDER / "firmware" / "port").glob("*/chip.c")}


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.fixture(params=[spec.name for spec in boards()])
def spec(request: pytest.FixtureRequest) -> BoardSpec:
    return board(request.param)


def test_the_boards_of_this_project() -> None:
    assert {"native", "qemu_mps2_an386", *OTHERS} <= {spec.name for spec in boards()}


def test_unknown_board_names_the_known_ones() -> None:
    with pytest.raises(BoardError, match="'esp33'") as raised:
        board("esp33")
    assert raised.value.hint is not None
    assert "qemu_mps2_an386" in raised.value.hint


def test_ini_has_the_environment_of_the_board(spec: BoardSpec) -> None:
    ini = configparser.ConfigParser(interpolation=None)
    assert ini.read(BOARDS_FOLDER / f"{spec.name}.ini")
    assert ini[f"env:{spec.environment}"]["board"] == spec.name


def test_a_linker_script_has_its_memory_from_the_board(spec: BoardSpec) -> None:
    """So that what `cutlayer convert` allows is just what fits."""
    build = json.loads((BOARDS_FOLDER / f"{spec.name}.json").read_text())["build"]
    if "linker_script" in build:
        assert (PROJECT_FOLDER / build["linker_script"]).is_file()
        assert int(build["flash_origin"], 0) % 1024 == int(build["ram_origin"], 0) % 1024 == 0


@pytest.mark.parametrize("port", sorted(CHIPS))
def test_a_cortex_m_chip_is_a_short_file(port: str) -> None:
    assert lines_of(CHIPS[port]) <= CHIP_LINES_MAX


def test_the_porting_guide_counts_the_lines_of_every_chip() -> None:
    guide = (PROJECT_FOLDER / "PORTING.md").read_text()
    said = re.findall(r"^\| `firmware/port/(\w+)/chip\.c` \| (\d+) \|", guide, flags=re.MULTILINE)
    assert {port: int(lines) for port, lines in said} == {port: lines_of(CHIPS[port]) for port in CHIPS}


def test_environment_names_are_the_boards_names(spec: BoardSpec) -> None:
    assert spec.environment == spec.name
    assert spec.stack_bytes < spec.ram_bytes


def test_every_board_with_a_serial_line_says_its_rate_and_hardware_its_usb_ids(spec: BoardSpec) -> None:
    assert (spec.baud is None) == (spec.name == "native")
    upload = json.loads((BOARDS_FOLDER / f"{spec.name}.json").read_text())["upload"]
    is_hardware = spec.emulator is None or "command" in upload
    assert bool(spec.hwids) == is_hardware
    assert len(set(spec.hwids)) == len(spec.hwids)


def test_recordings_for_the_flash_have_labels_and_a_limit(tmp_path: Path) -> None:
    spec = board("stm32f4_discovery")
    microphone = tmp_path / "recordings.raw"
    microphone.write_bytes(b"abc")
    assert flash_image(microphone, spec) == b"\3\0\0\0" + b"\0\0\0\0" + b"abc"
    microphone.with_name("recordings.raw.labels").write_bytes(b"\7")
    assert flash_image(microphone, spec) == b"\3\0\0\0" + b"\1\0\0\0" + b"abc" + b"\7"
    microphone.write_bytes(bytes(spec.recordings_bytes - 8))
    with pytest.raises(BoardError, match=r"take 524289 bytes, .* stm32f4_discovery has 524288"):
        flash_image(microphone, spec)


def test_flash_for_recordings_and_storage_is_nobody_elses(spec: BoardSpec) -> None:
    build = json.loads((BOARDS_FOLDER / f"{spec.name}.json").read_text())["build"]
    parts = [(int(build.get("flash_origin", "0"), 0), spec.flash_bytes)]
    parts += [(spec.recordings_origin, spec.recordings_bytes)] if spec.recordings_bytes else []
    parts += [(spec.storage_origin, spec.storage_bytes)] if spec.storage_bytes else []
    parts.sort()
    assert all(origin + count <= after for (origin, count), (after, _) in itertools.pairwise(parts))
