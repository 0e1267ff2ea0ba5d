"""`cutlayer bench seal`: its JSON, and the figures that issue 4 asks for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cutlayer_boards.spec import board
from cutlayer_converter.bench_seal import seal
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.measure_seal import measure_seal

MOST_INSTRUCTIONS_A_BYTE = 60.0
MOST_INSTRUCTIONS_A_HANDSHAKE = 5_000_000


@pytest.mark.qemu
def test_seals_are_counted() -> None:
    result = CliRunner().invoke(seal, ["--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert 10 < found["seal_instructions_a_byte"] <= MOST_INSTRUCTIONS_A_BYTE
    assert 10 < found["open_instructions_a_byte"] <= MOST_INSTRUCTIONS_A_BYTE
    # What does not open is not deciphered.
    assert found["refuse_instructions_a_byte"] < found["open_instructions_a_byte"]
    assert 10_000 < found["handshake_instructions"] <= MOST_INSTRUCTIONS_A_HANDSHAKE
    assert 1000 < found["guard_flash_bytes"] < found["monocypher_flash_bytes"] < 10_000
    assert 200 < found["guard_bytes"] < 500 < found["stack_bytes"] < 2000


def test_a_board_that_does_not_count_is_refused() -> None:
    with pytest.raises(ConvertError, match="native is none of them"):
        measure_seal(board("native"))
