"""The file of keys: for its owner's eyes alone, whole or not at all, and in no message."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from cutlayer_boards.keys import DeviceKey, KeyFileError, Keys
from cutlayer_host.cli import main
from cutlayer_host.guard import DEVICE_ID_BYTES, KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = (
    DeviceKey(bytes([number] * DEVICE_ID_BYTES), bytes([0xA0 + number] * KEY_BYTES)) for number in (1, 2)
)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    monkeypatch.setenv("CUTLAYER_KEYS", str(tmp_path / "new" / "keys.json"))
    return Keys.default()


def test_keys_are_kept_found_and_dropped(keys: Keys) -> None:
    assert keys.find(ONE.device_id) is None
    keys.add(ONE, "desk")
    keys.add(TWO)
    assert keys.path.stat().st_mode & 0o777 == 0o600
    assert (keys.find(ONE.device_id), Keys(keys.path).find(TWO.device_id)) == (ONE.secret, TWO.secret)
    assert (keys.named("desk"), keys.named(TWO.device_id.hex())) == (ONE.device_id, TWO.device_id)
    keys.remove(ONE.device_id)
    assert keys.names() == {TWO.device_id: None}
    with pytest.raises(KeyFileError, match="no device is called desk") as caught:
        keys.named("desk")
    assert caught.value.hint == f"devices there: {TWO.device_id.hex()}"


def test_by_itself_the_file_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUTLAYER_KEYS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Keys.default().path == tmp_path / ".config" / "cutlayer" / "keys.json"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_refused_by_every_command(
    keys: Keys, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    keys.add(ONE)
    keys.path.chmod(mode)
    assert main(["train", "--device", "unix:///nowhere", "--resume", "1"]) == 1
    printed = capsys.readouterr().err
    assert f"mode {mode:04o}" in printed
    assert f"next: chmod 600 {keys.path}" in printed


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace(ONE.secret.hex(), ONE.secret.hex()[:-2]),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda _: "[]",
        lambda _: '{"version": 1, "devices": {"zz": {"name": null, "key": "00"}}}',
        lambda _: '{"version": 1, "devices": [1]}',
    ],
)
def test_a_damaged_file_is_said_and_not_shown(keys: Keys, damage) -> None:  # type: ignore[no-untyped-def]
    keys.add(ONE)
    keys.path.write_text(damage(keys.path.read_text()))
    before = keys.path.read_bytes()
    for use in (keys.names, lambda: keys.add(TWO), lambda: keys.remove(TWO.device_id)):
        with pytest.raises(KeyFileError, match="is damaged") as caught:
            use()
        assert ONE.secret.hex()[:8] not in repr(caught.value) + str(caught.value.__context__)
    assert keys.path.read_bytes() == before


def test_a_change_that_fails_leaves_the_file(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.add(ONE)
    before = keys.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        keys.add(TWO)
    assert keys.path.read_bytes() == before
    assert {path.name for path in keys.path.parent.iterdir()} == {keys.path.name, f"{keys.path.name}.lock"}


def test_no_repr_shows_a_key(keys: Keys) -> None:
    keys.add(ONE, "desk")
    shown = f"{ONE!r} {ONE} {keys!r} {vars(keys)}"
    for form in (ONE.secret.hex(), repr(ONE.secret)):
        assert form not in shown


def test_a_fresh_key_is_new_and_its_device_has_a_name() -> None:
    fresh = [DeviceKey.fresh() for _ in range(64)]
    assert len({key.device_id for key in fresh}) == len({key.secret for key in fresh}) == 64
    assert all(any(key.device_id) for key in fresh)


def test_the_file_is_json(keys: Keys) -> None:
    keys.add(ONE, "desk")
    assert json.loads(keys.path.read_text()) == {
        "version": 1,
        "devices": {ONE.device_id.hex(): {"name": "desk", "key": ONE.secret.hex()}},
    }
