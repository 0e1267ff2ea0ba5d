"""The Python code reads the vectors of tests/vectors; tests/firmware/test_vectors.py has the C read them."""

from __future__ import annotations

import json
from typing import Any

import monocypher
import numpy as np
import pytest
from vector_files import FOLDER, maker, play, vectors

from cutlayer_host import tensors
from cutlayer_host.body import Parameters
from cutlayer_host.errors import ProtocolError
from cutlayer_host.guard import PARAMETERS_BYTES, SYN_BYTES, BoardGuard, HostGuard, Seal
from cutlayer_host.link import Link, Role
from cutlayer_host.messages import decode
from cutlayer_host.wire import FrameDecoder, encode_frame


def named(name: str, part: str) -> Any:
    cases = vectors(name)[part]
    return pytest.mark.parametrize(
        "case", cases, ids=[str(case.get("name", case.get("kind"))) for case in cases]
    )


def test_the_files_are_what_the_maker_makes() -> None:
    made = maker().made()
    assert sorted(made) == sorted(path.name for path in FOLDER.glob("*.json"))
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, f"run python tests/vectors/make.py: {name} is stale"


@named("frames", "frames")
def test_frames(case: dict[str, Any]) -> None:
    body, frame = bytes.fromhex(case["body"]), bytes.fromhex(case["frame"])
    assert encode_frame(body) == frame
    assert FrameDecoder(vectors("frames")["max_payload"]).receive(frame) == [body]


@named("frames", "streams")
@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_streams(case: dict[str, Any], chunk: int) -> None:
    decoder = FrameDecoder(vectors("frames")["max_payload"])
    stream = bytes.fromhex(case["stream"])
    bodies = []
    for start in range(0, len(stream), chunk):
        bodies += decoder.receive(stream[start : start + chunk])
    assert [body.hex() for body in bodies] == case["bodies"]
    assert decoder.counters.malformed == case["malformed"]


class _PythonEnd(Link):
    """Connects with the number that the vector names."""

    def connect(self, now_ms: float, connection: int = 0) -> None:
        super().connect(now_ms)
        self.connection = connection


@named("links", "conversations")
def test_links(case: dict[str, Any]) -> None:
    play(case, _PythonEnd(Role(case["role"]), Parameters(**case["parameters"])))


@named("seals", "seals")
def test_seals(case: dict[str, Any]) -> None:
    key, device_id, syn, syn_ack = (
        bytes.fromhex(case[name]) for name in ("key", "device_id", "syn", "syn_ack")
    )
    host = HostGuard({device_id: key}.get, lambda count: syn[-count:])
    board = BoardGuard(device_id, key, lambda count: syn_ack[PARAMETERS_BYTES:SYN_BYTES][:count])
    assert host.introduce(case["connection"], syn[:PARAMETERS_BYTES]) == syn
    board.meet(case["connection"], syn)
    assert board.introduce(case["connection"], syn_ack[:PARAMETERS_BYTES]) == syn_ack
    transcript = bytes.fromhex(case["transcript"])
    # Monocypher's and the standard library's BLAKE2b are one function.
    assert monocypher.blake2b(b"\x01" + transcript, key).hex() == case["keys"]
    assert syn_ack.hex().endswith(case["proof"])
    host_seal = host.meet(syn_ack)
    assert isinstance(host_seal, Seal)
    first, *frames = case["frames"]
    opened = board.open(case["connection"], bytes.fromhex(first["sealed"]))
    assert opened is not None
    assert (opened[0].hex(), opened[1]) == (first["body"], syn[:PARAMETERS_BYTES])
    assert host_seal.seal(bytes.fromhex(first["body"])).hex() == first["sealed"]
    ends = {"host": (host_seal, opened[2]), "board": (opened[2], host_seal)}
    for frame in frames:
        sender, receiver = ends[frame["from"]]
        body, sealed = bytes.fromhex(frame["body"]), bytes.fromhex(frame["sealed"])
        assert sender.seal(body) == sealed
        assert receiver.open(sealed) == body
        assert receiver.open(sealed) is None


@named("messages", "messages")
def test_messages(case: dict[str, Any]) -> None:
    message = decode(bytes.fromhex(case["payload"]))
    assert message.KIND.name == case["kind"]
    for name, expected in case["fields"].items():
        value = getattr(message, name)
        value = value.hex() if isinstance(value, bytes) else json.loads(json.dumps(value))
        assert value == expected, name
    assert message.encode().hex() == case["payload"]


@named("messages", "refused")
def test_refused_messages(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(bytes.fromhex(case["payload"]))
    assert caught.value.code == case["code"]


@named("codecs", "activations")
def test_activations(case: dict[str, Any]) -> None:
    values = np.array(case["values"], np.int8)
    data = tensors.activation_data(values, case["codec"], case["zero_point"])
    assert data.hex() == case["data"]
    sent = tensors.activation_values(data, values.size, case["codec"], case["zero_point"])
    assert sent.tolist() == case["sent"]


@named("codecs", "gradients")
def test_gradients(case: dict[str, Any]) -> None:
    mask = tensors.masked(
        np.array(case["values"], np.int8),
        case["activation_codec"],
        case["activation_min"],
        case["activation_max"],
    )
    assert mask.astype(int).tolist() == case["masked"]
    gradient = np.array(case["gradient"], np.int8)
    assert tensors.gradient_data(gradient, mask, case["codec"]).hex() == case["data"]
    received = tensors.gradient_values(bytes.fromhex(case["data"]), mask, case["codec"])
    assert received.tolist() == case["gradient"]
