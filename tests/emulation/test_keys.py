"""Keys of boards that run: given over a cable, used by those who hold them, of no use to others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from cobs import cobs
from ear import Ear
from emulation_host import configure_sgd, lesson, read_all, train

from cutlayer_boards.emulator import emulate
from cutlayer_boards.errors import BoardError
from cutlayer_boards.keys import DeviceKey, Keys
from cutlayer_boards.storage import read_key
from cutlayer_host.cli import main
from cutlayer_host.codes import ErrorCode
from cutlayer_host.device import Device
from cutlayer_host.errors import DeviceError, HostError, KeyMismatch
from cutlayer_host.opening import connect, open_device
from cutlayer_host.provisioning import is_cable, provision
from cutlayer_host.transports import open_transport
from cutlayer_host.wire import HEADER_BYTES, SEAL_BYTES

RUN = 7
CONFIGURATION = replace(configure_sgd(cut=2), run=RUN)
STEPS = lesson(steps=6, batch=2, recordings=16)
SYN_ACK = 2
TEXT = 16  # bytes of a plain text that chance does not repeat


def payloads(ear: Ear) -> list[bytes]:
    """What follows the headers of all frames but those of a handshake, both ways."""
    frames = [frame for way in (ear.up, ear.down) for frame in way.split(b"\0") if frame]
    bodies = [cobs.decode(frame)[:-4] for frame in frames]
    return [body[HEADER_BYTES:] for body in bodies if body[0] > SYN_ACK]


async def overheard(url: str, key) -> tuple[Ear, dict[str, bytes], bytes]:
    """A lesson from the start; what was on the link, what was learned, and some bytes of its smashed data."""
    ear = Ear(await open_transport(url))
    device = await Device.open(ear, key=key)
    try:
        await device.configure(CONFIGURATION)
        await train(device, STEPS)
        smashed = await device.sample(1, 3, train=False)
        codes = (smashed.values.astype(np.int16) + 128).astype(np.uint8)  # as an int8 goes over the link
        return ear, await read_all(device, 4), codes.tobytes()[:64]
    finally:
        await device.close()


def shows(ear: Ear, text: bytes) -> bool:
    return any(text[at : at + TEXT] in part for part in payloads(ear) for at in range(len(text) - TEXT + 1))


async def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = await asyncio.to_thread(main, list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def keys(tmp_path, monkeypatch) -> Keys:
    monkeypatch.setenv("CUTLAYER_KEYS", str(tmp_path / "keys.json"))
    return Keys.default()


async def test_a_board_gets_a_key_trains_loses_power_and_is_revoked(
    each_board, build, tiny_bundle, tiny_microphone, tmp_path, keys, capsys
):
    firmware, storage = build(each_board, tiny_bundle), tmp_path / "storage"

    def board():
        return emulate(each_board, firmware, tiny_microphone, storage=storage, provisioned=False)

    async with board() as node:
        with pytest.raises(KeyMismatch, match="has no key") as refused:
            await open_device(node.url, key=keys.find)
        assert "cutlayer provision" in refused.value.hint
        async with connect(node.url, key=None) as device:
            with pytest.raises(DeviceError, match="KEY") as locked:
                await device.configure(CONFIGURATION)
            assert locked.value.code == ErrorCode.KEY
        code, said, _ = await command(capsys, "provision", "--port", node.url, "--name", "desk", "--json")
        assert code == 0
        device_id = bytes.fromhex(json.loads(said)["device_id"])
        assert keys.names() == {device_id: "desk"}
        assert read_key(storage) == DeviceKey(device_id, keys.find(device_id))
        with pytest.raises(KeyMismatch, match="wants a key"):
            await open_device(node.url, key=None)
        async with connect(node.url, key=keys.find) as device:
            assert device.welcome.device_id == device_id
            await device.configure(CONFIGURATION)
            weights_crc = await train(device, STEPS[:3])
            await device.save(3)
        node.process.kill()
        await node.process.wait()
    async with board() as node:
        async with connect(node.url, key=keys.find) as device:
            assert (await device.restore(RUN, 3)).weights_crc == weights_crc
        code, _, said = await command(capsys, "provision", "--port", node.url, "--name", "desk")
        assert code == 2
        assert "another device is called desk" in said
        code, said, _ = await command(capsys, "provision", "--port", node.url, "--name", "lab", "--json")
        assert code == 0
        assert [*keys.names().values()] == ["lab"]
        assert json.loads(said)["device_id"] != device_id.hex()
        code, said, _ = await command(capsys, "revoke", "lab", "--port", node.url, "--json")
        assert json.loads(said)["forgotten"]
        assert keys.names() == {}
        with pytest.raises(KeyMismatch, match="has no key"):
            await open_device(node.url, key=keys.find)
    assert read_key(storage) is None


async def test_an_eavesdropper_learns_nothing_and_no_seal_comes_twice(
    each_board, build, build_plain, native, tiny_bundle, tiny_microphone
):
    async with emulate(native, build_plain(native, tiny_bundle), tiny_microphone) as node:
        assert node.key is None
        plain, learned, smashed = await overheard(node.url, None)
        assert "CUTLAYER_INSECURE: no keys" in node.log[0]
    assert shows(plain, smashed)
    async with emulate(each_board, build(each_board, tiny_bundle), tiny_microphone) as node:
        ears = []
        for _ in range(2):
            ear, same, same_smashed = await overheard(node.url, node.key)
            assert (same, same_smashed) == (learned, smashed)
            assert not shows(ear, smashed)
            assert not shows(ear, node.device.secret)
            ears.append(ear)
    # The same messages: with a key or a nonce used twice, something would be the same.
    texts = [[part[4:] for part in payloads(ear) if len(part) >= TEXT + SEAL_BYTES] for ear in ears]
    windows = [
        {text[at : at + 8] for text in all_texts for at in range(len(text) - 7)} for all_texts in texts
    ]
    assert min(map(len, windows)) > 2000
    assert not windows[0] & windows[1]
    assert all(len(set(all_texts)) == len(all_texts) for all_texts in texts)


async def test_a_session_that_is_played_again_changes_nothing(native, build, tiny_bundle, tiny_microphone):
    async with emulate(native, build(native, tiny_bundle), tiny_microphone) as node:
        ear, learned, _ = await overheard(node.url, node.key)
        before = DeviceKey(node.device.device_id, node.device.secret)
        stranger = await open_transport(node.url)
        await stranger.write(bytes(ear.down))
        await asyncio.sleep(0.3)
        await stranger.close()
        async with connect(node.url, key=before.find) as device:
            stats = await device.stats()
            assert device.welcome.last_step == len(STEPS)
            assert stats["steps_applied"] == len(STEPS)
            assert await read_all(device, 4) == learned


async def test_the_wrong_key_opens_nothing(native, build, tiny_bundle):
    async with emulate(native, build(native, tiny_bundle)) as node:
        other = DeviceKey(node.device.device_id, np.random.default_rng(1).bytes(32))
        with pytest.raises(KeyMismatch, match="does not hold the key") as wrong:
            await open_device(node.url, key=other.find)
        assert other.secret.hex()[:8] not in str(wrong.value)
        with pytest.raises(KeyMismatch, match="no key is known"):
            await open_device(node.url, key=DeviceKey.fresh().find)


async def test_a_firmware_without_keys_is_not_provisioned(
    native, build_plain, tiny_bundle, tmp_path, keys, capsys
):
    async with emulate(native, build_plain(native, tiny_bundle), storage=tmp_path / "storage") as node:
        with pytest.raises(HostError, match="CUTLAYER_INSECURE") as refused:
            await provision(node.url, keys)
        assert refused.value.hint
        assert keys.names() == {}
        code, _, said = await command(capsys, "devices", node.url, "--insecure", "--json")
        assert code == 0
        assert said.startswith("WARNING: --insecure")


async def test_a_key_file_that_cannot_be_written_leaves_the_board_as_it_is(
    native, build, tiny_bundle, tmp_path
):
    storage = tmp_path / "storage"
    firmware = build(native, tiny_bundle)
    async with emulate(native, firmware, storage=storage, provisioned=False) as node:
        with pytest.raises(BoardError.__base__, match="cannot be written"):
            await provision(node.url, Keys(tmp_path / "storage" / "keys.json"))
    assert read_key(storage) is None


async def test_without_storage_the_board_does_not_start(native, build, tiny_bundle, tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(str(build(native, tiny_bundle).path), "--listen", f"unix:{tmp_path}/link"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert b"without storage" in said


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("serial:///dev/ttyACM0", True),
        ("/dev/ttyACM0", True),
        ("unix:///tmp/link", True),
        ("tcp://127.0.0.1:7000", True),
        ("tcp://localhost:7000", True),
        ("tcp://192.168.0.7:7000", False),
        ("tcp://board.local:7000", False),
        ("ble://cutlayer", False),
    ],
)
def test_a_key_goes_over_a_cable(url, expected):
    assert is_cable(url) == expected
