"""Boards that run: small bundles, what their microphones hear, and firmware for both boards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_bundles import TINY_INPUT, small_bundle

from cutlayer_boards.build import Firmware, build_firmware
from cutlayer_boards.spec import BoardSpec, board

RECORDINGS = 16

BuildFor = Callable[[BoardSpec, Path], Firmware]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What test_every_board.py found, a line each."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [line for report in reports for name, line in report.user_properties if name == "board"]
    if lines:
        terminalreporter.section("boards")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    return small_bundle("tiny")


@pytest.fixture(scope="session")
def listener_bundle() -> Path:
    return small_bundle("listener")


@pytest.fixture(scope="session")
def tiny_inputs() -> np.ndarray:
    """int8 [RECORDINGS, height, width, channels]: random, and both ends of the range."""
    inputs = np.random.default_rng(2).integers(-128, 128, (RECORDINGS, *TINY_INPUT)).astype(np.int8)
    inputs[0], inputs[1] = -128, 127
    return inputs


@pytest.fixture(scope="session")
def tiny_microphone(tiny_inputs: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the inputs, and labels for all but the last three. Its name needs care on command lines."""
    path = tmp_path_factory.mktemp("a microphone, here") / "inputs, raw.bin"
    path.write_bytes(tiny_inputs.tobytes())
    labels = bytes(255 if i == 5 else i for i in range(RECORDINGS - 3))
    path.with_name(path.name + ".labels").write_bytes(labels)
    return path


EMULATED = pytest.param("qemu_mps2_an386", marks=pytest.mark.qemu)


@pytest.fixture(params=["native", EMULATED])
def each_board(request: pytest.FixtureRequest) -> BoardSpec:
    """A board that hears."""
    return board(request.param)


@pytest.fixture(params=["native", EMULATED, pytest.param("megaatmega2560", marks=pytest.mark.simavr)])
def any_board(request: pytest.FixtureRequest) -> BoardSpec:
    """Boards of 8 KB too: they have no room for the features of sound."""
    return board(request.param)


@pytest.fixture(scope="session")
def native() -> BoardSpec:
    return board("native")


@pytest.fixture(scope="session")
def qemu() -> BoardSpec:
    return board("qemu_mps2_an386")


@pytest.fixture(scope="session")
def build() -> BuildFor:
    """Builds the firmware of a bundle; PlatformIO runs once for each."""
    return lambda spec, bundle: build_firmware(spec, bundle)


@pytest.fixture(scope="session")
def build_plain() -> BuildFor:
    """The same without keys, so that what is on the link can be read."""
    return lambda spec, bundle: build_firmware(spec, bundle, insecure=True)
