"""A short run of every fuzz target, in C under ASan and UBSan, in Python beside the C of the firmware.

`make fuzz` is the long one: tests/support/fuzz_campaign.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from fuzz_files import FILE_TARGETS
from fuzz_program import CLANG, PYTHON_TARGETS, TARGETS, Target, read_corpus, run, unpack_corpus
from fuzz_targets import TARGETS as WIRE_TARGETS

if TYPE_CHECKING:
    from pathlib import Path

C = [target for target in TARGETS if target.language == "c"]
PYTHON_FUNCTIONS = WIRE_TARGETS | FILE_TARGETS
PYTHON = [target for target in TARGETS if target.language == "python"]
# Inputs that take a second or so each target.
C_INPUTS = 20_000
NODE_INPUTS = 2_000
PYTHON_INPUTS = 500
STORE_INPUTS = 100
# How deep the inputs must get: a target that is turned away at the door finds nothing.
DEPTHS = {
    "codec": ("coded",),
    "frame": ("frames",),
    "guard": ("messages", "delivered"),
    "link": ("delivered",),
    "message": ("messages",),
    "node": ("smashed", "added", "applied", "refused", "saved", "restored"),
    "session": ("smashed", "added", "applied", "refused"),
    "slots": ("records",),
    "train": ("added", "applied", "refused"),
    "window": ("messages", "delivered"),
}


@pytest.mark.skipif(CLANG is None, reason="clang is missing: boards/setup/system_packages.sh installs it")
@pytest.mark.parametrize("target", C, ids=lambda target: target.short)
def test_bad_input_breaks_nothing_in_c(target: Target, tmp_path: Path) -> None:
    unpack_corpus(target, tmp_path)
    inputs = NODE_INPUTS if target.short == "node" else C_INPUTS
    ran = run(target, tmp_path, f"-runs={inputs}", "-seed=1")
    assert not ran.finding, ran.finding
    assert ran.inputs >= inputs
    assert all(ran.reached[name] > 0 for name in DEPTHS[target.short]), ran.reached


@pytest.mark.parametrize("target", PYTHON, ids=lambda target: target.short)
def test_bad_input_breaks_nothing_in_python(target: Target) -> None:
    function, rng = PYTHON_FUNCTIONS[target.short], random.Random(target.short)
    corpus = read_corpus(target)
    for item in corpus:
        function(item)
    for _ in range(STORE_INPUTS if target.short == "store" else PYTHON_INPUTS):
        item = bytearray(rng.choice(corpus) + rng.randbytes(1 + rng.randrange(40)))
        for _ in range(rng.randrange(4)):
            item[rng.randrange(len(item))] = rng.randrange(256)
        function(bytes(item))


def test_every_target_has_a_corpus() -> None:
    assert set(PYTHON_FUNCTIONS) == set(PYTHON_TARGETS)
    assert sum(target.corpus.stat().st_size for target in TARGETS) < 300_000
    assert all(read_corpus(target) for target in TARGETS)
