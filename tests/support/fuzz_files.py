"""Fuzz targets of files: each takes any bytes, damages a file with them, and raises when something breaks.

A damaged file is read well or refused with an error of ours that names it, and no refusal changes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import struct
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from choices import Choices
from core import SOURCE, core_library

from cutlayer_boards.errors import CutlayerError
from cutlayer_boards.keys import DeviceKey, KeyFileError, Keys
from cutlayer_boards.storage import read_key
from cutlayer_converter.bundle import load_manifest
from cutlayer_host.board_messages import Welcome
from cutlayer_host.checkpoint import Checkpoint
from cutlayer_host.commands.options import TrainOptions
from cutlayer_host.errors import StoreError
from cutlayer_host.report import StepDone
from cutlayer_host.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_host.run import Run


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    """In memory where there is such a folder: what is written durably takes a disk long."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="cutlayer-fuzz-", dir=memory if memory.is_dir() else None)


def folder() -> Path:
    return Path(_temporary().name)


@cache
def whole_manifest() -> dict[str, Any]:
    head = {"shape": [4], "scale": 0.5, "zero_point": 0}
    cut = {"layer": "a", "op_count": 1, "activation_min": 0, "activation_max": 1, **head}
    layer = {"layer": "a", "kind": "dense", "weight_shape": [2, 4], "channel_count": 2, "input_scale": 0.5}
    return {
        "bundle_version": 1,
        "model_id": "0" * 64,
        "board": "native",
        "cut_layer": "a",
        "input": head,
        "cuts": [cut],
        "trainable": {**layer, "activation": "relu", "samples_max": 9},
        "untrainable_reason": None,
        "class_names": ["a"],
        "optimizer": "adam",
        "memory": [{"name": "x", "section": "ram", "bytes": 1}],
        "ram_budget_bytes": 1,
        "flash_budget_bytes": 1,
    }


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "dense", "0" * 64),
    *([], [1], {}, [None], {"a": 1}, [[[[]]]]),
)


def changed(choices: Choices, value: Any) -> Any:
    """The same with some places replaced, left out or doubled."""
    if choices.below(12) == 0:
        return choices.one_of(VALUES)
    if isinstance(value, dict):
        return {key: changed(choices, item) for key, item in value.items() if choices.below(40)}
    if isinstance(value, list):
        return [changed(choices, item) for item in value for _ in range(1 + (choices.below(40) == 0))]
    return value


def manifest(data: bytes) -> None:
    """A manifest is loaded whole and well, or refused with a CutlayerError."""
    choices = Choices(data)
    text = (
        choices.rest() if choices.below(4) == 0 else json.dumps(changed(choices, whole_manifest())).encode()
    )
    (folder() / "manifest.json").write_bytes(text)
    try:
        loaded = load_manifest(folder())
    except CutlayerError:
        return
    assert loaded.smashed.count == loaded.cuts[-1].count
    assert isinstance(loaded.ram_bytes, int)


def key_slots(data: bytes) -> None:
    """The storage of an emulated board: the same key's owner is found here and in C."""
    ffi, lib = core_library([SOURCE / "slots.c", SOURCE / "frame.c"], ["cutlayer/slots.h"])
    choices = Choices(data)
    content = bytearray(b"\xff" * 256)
    for slot in (0, 128):
        body = choices.take(40)[: 40 if choices.below(8) else choices.below(41)]
        sequence = choices.one_of((0, 1, 2, 2**31, 2**32 - 1))
        size = len(body) if choices.below(8) else choices.below(1 << 32)
        header = struct.pack("<4sIIIII", b"CLK1", sequence, size, zlib.crc32(body), 0, 0)[:-4]
        content[slot : slot + 24 + len(body)] = header + struct.pack("<I", zlib.crc32(header)) + body
    for _ in range(choices.below(4)):
        content[choices.below(256)] = choices.below(256)
    content = content[: 256 if choices.below(8) else choices.below(257)]
    path = folder() / "storage"
    path.write_bytes(content)
    content = content.ljust(256, b"\xff")

    def read(_: Any, offset: int, out: Any, count: int) -> int:
        ffi.memmove(out, bytes(content[offset : offset + count]), count)
        return 0

    keep = ffi.callback("int32_t(void *, uint32_t, void *, uint32_t)", read)
    storage, slots = (
        ffi.new("struct cl_storage *", {"read": keep, "bytes": 256}),
        ffi.new("struct cl_slots *"),
    )
    assert lib.cl_slots_open(slots, storage, lib.CL_SLOTS_KEY) == 0
    newest = lib.cl_slots_newest(slots)
    expected = None
    if newest >= 0 and slots.slots[newest].body_bytes == 40:
        out = ffi.new("uint8_t[]", 40)
        assert lib.cl_slots_read(slots, newest, 0, out, 40) == 0
        body = bytes(ffi.buffer(out))
        expected = DeviceKey(body[:8], body[8:]) if any(body[:8]) else None
    assert read_key(path) == expected


def damaged(choices: Choices, data: bytes) -> bytes:
    """The same with some bytes replaced, and perhaps cut short."""
    changed = bytearray(data)
    for _ in range(choices.below(4)):
        changed[choices.below(len(changed))] = choices.below(256)
    if choices.below(4) == 0:
        at, count = choices.below(len(changed)), choices.below(4096)
        changed[at : at + count] = choices.noise.randbytes(len(changed[at : at + count]))
    return bytes(changed if choices.below(8) else changed[: choices.below(len(changed))])


def refusal(use: Callable[[], object], kind: type[CutlayerError]) -> CutlayerError | None:
    try:
        use()
    except kind as error:
        return error
    return None


# --- keys ---

DEEP = b"[" * 100_000
OWN, OTHER = (DeviceKey(bytes([number] * 8), bytes([0xA0 + number] * 32)) for number in (1, 2))


def key_file(data: bytes) -> None:
    """A damaged file of keys is named, its keys are not shown, and it stays as it was."""
    choices = Choices(data)
    keys = Keys(folder() / "keys" / "keys.json")
    whole = {
        "version": 1,
        "devices": {key.device_id.hex(): {"name": "a", "key": key.secret.hex()} for key in (OWN, OTHER)},
    }
    kind = choices.below(4)
    if kind == 0:
        content = choices.rest() if choices.below(20) else DEEP
    elif kind == 1:
        content = damaged(choices, json.dumps(whole, indent=2).encode())
    else:
        content = json.dumps(changed(choices, whole)).encode()
    keys.path.parent.mkdir(exist_ok=True)
    keys.path.write_bytes(content)
    keys.path.chmod(0o600)
    fresh = DeviceKey(bytes([3] * 8), bytes([0xA3] * 32))
    uses: list[Callable[[], object]] = [
        lambda: keys.find(OWN.device_id),
        keys.names,
        lambda: keys.named("a"),
        lambda: keys.add(fresh, "b"),
        lambda: keys.remove(OTHER.device_id),
    ]
    for use in uses:
        before = keys.path.read_bytes()
        refused = refusal(use, KeyFileError)
        if refused is not None:
            assert str(keys.path) in str(refused)
            assert OWN.secret.hex()[:8] not in f"{refused!r} {refused.hint} {refused.__context__}"
            assert keys.path.read_bytes() == before
    left = {path.name for path in keys.path.parent.iterdir()}
    assert left == {"keys.json", "keys.json.lock"}, left


# --- the store ---


def step_done(step: int) -> StepDone:
    return StepDone(
        step=step, samples=8, loss=0.5, correct=4, weights_crc=7 * step, saturated=0, scale=0.1, clipped=0
    )


def kept(step: int) -> Checkpoint:
    return Checkpoint(step, {"weights/0": np.arange(4.0) * step, "gradient/peak": np.float64(1)}, 7 * step)


OPTIONS = TrainOptions(
    *(9, 0, None, 8, "sgd", 0.1, None, 0.9, "int8", "int8"),
    *(False, False, False, 2, 0, 30.0),
).asked()


@cache
def whole_store() -> Path:
    """A store with a run that can be resumed and one that has finished."""
    store = Store(folder() / "whole")
    welcome = Welcome(smashed_count=4, output_scale=0.1, output_zero_point=0, device_id=bytes(range(8)))
    for finished in (False, True):
        with store.begin(welcome, "unix:///a", Path("/bundle"), OPTIONS) as run:
            for step in (1, 2, 3):
                run.record(step_done(step))
                run.keep(kept(step))
            run.measure(2, {"accuracy": 0.5})
            if finished:
                run.finish({"loss": 0.5})
    return store.folder


COLUMNS = (
    *(("runs", "number", name) for name in ("lineage", "device", "asked", "begun", "ended", "result")),
    *(("steps", "step", name) for name in ("step", "samples", "loss", "correct", "weights_crc", "scale")),
    *(("checkpoints", "step", name) for name in ("step", "sha256", "weights_crc", "saved")),
    *(("metrics", "step", name) for name in ("step", "name", "value")),
    *(("devices", "rowid", name) for name in ("board", "url")),
)
CELLS = (
    *(None, -1, 0, 2**62, 0.5, "", "x", "[]", "{}", "1", b"\xff", "\x00", DEEP.decode()),
    *('{"a": 1}', '{"samples": []}', json.dumps(OPTIONS | {"seed": None})),
)


def change_rows(choices: Choices, database: Path) -> None:
    """What somebody may do with the SQLite shell, as far as SQLite lets them."""
    with sqlite3.connect(database) as changing:
        for _ in range(1 + choices.below(3)):
            table, number, column = choices.one_of(COLUMNS)
            try:
                changing.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {number} % ? = 0",
                    (choices.one_of(CELLS), 1 + choices.below(3)),
                )
            except sqlite3.Error:
                continue
    changing.close()


def other_checkpoint(choices: Choices, store: Path) -> None:
    """A file whose SHA-256 is the one noted, though this host has not written it."""
    path = store / "checkpoints" / "1-3.npz"
    content = damaged(choices, path.read_bytes())
    if choices.below(3) == 0:
        packed = io.BytesIO()
        np.savez(packed, **{choices.one_of(("weights/0", "weights/x", "a")): np.array(choices.one_of(CELLS))})
        content = packed.getvalue()
    path.write_bytes(content)
    with sqlite3.connect(store / "cutlayer.sqlite3") as changing:
        noted = hashlib.sha256(content).hexdigest()
        changing.execute("UPDATE checkpoints SET sha256 = ? WHERE run = 1 AND step = 3", (noted,))
    changing.close()


def use_store(path: Path) -> None:
    """All that the commands do with a store."""
    store = Store.existing(path)
    for summary in store.runs():
        TrainOptions.of(summary, path)
        assert isinstance(summary.lineage, int)
    for step in store.checkpoints(1):
        assert isinstance(step, int)
    assert all(isinstance(array, np.ndarray) for array in store.load(1, 3).arrays.values())
    store.history(2)
    with store.resume(1) as run:
        use_run(run)
    store.run(1)


def use_run(run: Run) -> None:
    for done in run.history():
        assert isinstance(done.samples, int)
        assert isinstance(done.loss, float)
    run.measured()
    assert run.result is None or isinstance(run.result, dict)
    last = run.steps()[-1:]
    for step in last:
        assert run.load(step).step == step
    run.go_back(2)
    run.record(step_done(3))
    run.keep(kept(3))
    run.saved(3)
    run.finish({"loss": 1.0})


def store(data: bytes) -> None:
    """A damaged store is named, whatever is damaged in it, and whatever is done with it."""
    choices = Choices(data)
    path = folder() / "store"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole_store(), path)
    database = path / "cutlayer.sqlite3"
    kind = choices.below(4)
    if kind == 0:
        change_rows(choices, database)
    elif kind == 1:
        other_checkpoint(choices, path)
    else:
        name = choices.one_of(("cutlayer.sqlite3", "cutlayer.sqlite3", "checkpoints/1-3.npz"))
        (path / name).write_bytes(damaged(choices, (path / name).read_bytes()))
    refused = refusal(lambda: use_store(path), StoreError)
    assert refused is None or str(path) in str(refused)
    assert not list(path.rglob("*.partial"))


FILE_TARGETS: dict[str, Callable[[bytes], None]] = {
    "key_file": key_file,
    "key_slots": key_slots,
    "manifest": manifest,
    "store": store,
}
