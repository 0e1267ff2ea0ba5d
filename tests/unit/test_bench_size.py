"""`cutlayer bench size`: the core's flash by file, and that it stays small."""

from __future__ import annotations

import json

import pytest

from cutlayer_boards.bench_size import LIMIT_BYTES, measure_core
from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER
from cutlayer_host.cli import main


def test_the_core_takes_at_most_16_kb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "size", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    files = {file["file"]: file for file in said["files"]}
    source = PROJECT_FOLDER / "firmware" / "lib" / "cutlayer" / "src"
    assert set(files) == {str(path.relative_to(source)) for path in source.rglob("*.c")}
    assert files["kernels/conv2d.c"]["is_kernel"]
    assert not files["session.c"]["is_kernel"]
    assert 0 < files["codec.c"]["flash_bytes"] < files["codec.c"]["compiled_bytes"]
    assert files["node.c"]["flash_bytes"] == files["node.c"]["compiled_bytes"]
    assert all(0 <= file["flash_bytes"] <= file["compiled_bytes"] for file in files.values())
    assert said["core_bytes"] + said["kernel_bytes"] == sum(file["flash_bytes"] for file in files.values())
    assert said["core_bytes"] + said["storage_bytes"] < said["core_compiled_bytes"]
    # A board without storage has nothing of it.
    assert files["saver.c"]["flash_bytes"] == files["slots.c"]["flash_bytes"] == 0
    assert files["saver.c"]["storage_bytes"] == files["saver.c"]["compiled_bytes"]
    assert said["storage_bytes"] == sum(file["storage_bytes"] for file in files.values()) < 4096
    assert 8 * 1024 < said["core_bytes"] <= said["core_limit_bytes"] == LIMIT_BYTES == 16 * 1024


def test_a_missing_compiler_is_said() -> None:
    with pytest.raises(BoardError, match="no-such-gcc is not installed") as raised:
        measure_core("no-such-gcc")
    assert raised.value.hint is not None
    assert "gcc-arm-none-eabi" in raised.value.hint
