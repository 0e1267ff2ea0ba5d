"""Every board is one JSON and one ini that agree with each other and with the linker script."""

from __future__ import annotations

import configparser
import re

import pytest

from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import BOARDS_FOLDER, PROJECT_FOLDER, BoardSpec, board, boards


@pytest.fixture(params=[spec.name for spec in boards()])
def spec(request: pytest.FixtureRequest) -> BoardSpec:
    return board(request.param)


def test_the_boards_of_this_project() -> None:
    assert {"native", "qemu_mps2_an386"} <= {spec.name for spec in boards()}


def test_unknown_board_names_the_known_ones() -> None:
    with pytest.raises(BoardError, match="'esp33'") as raised:
        board("esp33")
    assert raised.value.hint is not None
    assert "qemu_mps2_an386" in raised.value.hint


def test_ini_has_the_environment_of_the_board(spec: BoardSpec) -> None:
    ini = configparser.ConfigParser(interpolation=None)
    assert ini.read(BOARDS_FOLDER / f"{spec.name}.ini")
    assert ini[f"env:{spec.environment}"]["board"] == spec.name


def test_linker_script_gives_out_just_what_the_board_says() -> None:
    spec = board("qemu_mps2_an386")
    script = (PROJECT_FOLDER / "firmware" / "port" / "mps2" / "mps2.ld").read_text()
    sizes = dict(re.findall(r"(FLASH|RAM) \(\w+\) *: ORIGIN = \w+, LENGTH = (\w+)", script))
    unit = {"K": 1024, "M": 1024**2}
    assert spec.ram_bytes == int(sizes["RAM"][:-1]) * unit[sizes["RAM"][-1]]
    assert spec.flash_bytes == int(sizes["FLASH"][:-1]) * unit[sizes["FLASH"][-1]]
    assert f"STACK_BYTES = {spec.stack_bytes // 1024}K;" in script


def test_environment_names_are_the_boards_names(spec: BoardSpec) -> None:
    assert spec.environment == spec.name
    assert spec.stack_bytes < spec.ram_bytes
