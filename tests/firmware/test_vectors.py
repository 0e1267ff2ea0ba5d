"""The C code reads the vectors of tests/vectors; tests/unit/test_vectors.py has the Python read them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from core import SOURCE, core_library
from vector_files import play, vectors

from cutlayer_host.body import Parameters
from cutlayer_host.codes import Kind
from cutlayer_host.firmware_link import FirmwareLink
from cutlayer_host.link import Role

HOST_KINDS = [kind.name for kind in Kind if kind <= Kind.PIECE]
BOARD_KINDS = ["PIECE", *(kind.name for kind in Kind if kind >= Kind.ERROR)]


@cache
def library() -> tuple[Any, Any]:
    sources = [SOURCE / f"{name}.c" for name in ("frame", "codec", "message")]
    return core_library(sources, [f"cutlayer/{name}.h" for name in ("frame", "codec", "message")])


def int8(values: list[int]) -> Any:
    return library()[0].new("int8_t[]", values)


def test_frames() -> None:
    ffi, lib = library()
    for case in vectors("frames")["frames"]:
        body, frame = bytes.fromhex(case["body"]), bytes.fromhex(case["frame"])
        written = ffi.new("uint8_t[]", 1024)
        count = lib.cl_frame_encode(written, 1024, body, len(body))
        assert bytes(ffi.buffer(written, count)) == frame, case["name"]


@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_streams(chunk: int) -> None:
    ffi, lib = library()
    capacity = 12 + vectors("frames")["max_payload"] + 4
    for case in vectors("frames")["streams"]:
        decoder, body = ffi.new("struct cl_frame_decoder *"), ffi.new("uint8_t[]", capacity)
        lib.cl_frame_decoder_init(decoder, body, capacity)
        stream, used = bytes.fromhex(case["stream"]), ffi.new("uint32_t *")
        bodies, malformed = [], 0
        for start in range(0, len(stream), chunk):
            rest = stream[start : start + chunk]
            while rest:
                result = lib.cl_frame_decode(decoder, rest, len(rest), used)
                rest = rest[used[0] :]
                # A body shorter than a header is the link's to drop.
                if result >= 12:
                    bodies.append(bytes(ffi.buffer(body, result)).hex())
                elif result != 0:
                    malformed += 1
        assert bodies == case["bodies"], case["name"]
        assert malformed == case["malformed"], case["name"]


@pytest.mark.parametrize("case", vectors("links")["conversations"], ids=lambda case: case["name"])
def test_links(case: dict[str, Any]) -> None:
    play(case, FirmwareLink(Role(case["role"]), Parameters(**case["parameters"])))


def messages_of(*kinds: str) -> Any:
    cases = [case for case in vectors("messages")["messages"] if case["kind"] in kinds]
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["kind"])


@messages_of(*HOST_KINDS)
def test_messages_of_the_host(case: dict[str, Any]) -> None:
    ffi, lib = library()
    payload, message = bytes.fromhex(case["payload"]), ffi.new("struct cl_message *")
    data = ffi.from_buffer(payload)
    assert lib.cl_message_decode(message, data, len(payload)) == 0
    assert message.kind == payload[0]
    part = getattr(getattr(message, "as"), case["kind"].lower(), None)
    for name, expected in case["fields"].items():
        if name == "data":
            assert bytes(ffi.buffer(part.data, part.data_bytes)).hex() == expected
        elif name in ("device_id", "key"):
            assert bytes(ffi.buffer(getattr(part, name), len(expected) // 2)).hex() == expected
        elif name != "wire_version":
            assert getattr(part, name) == expected, name


def _encode_welcome(fields: dict[str, Any], payload: Any) -> int:
    ffi, lib = library()
    given = {name: value for name, value in fields.items() if name != "wire_version"}
    model_id = ffi.new("uint8_t[]", bytes.fromhex(given["model_id"]))
    board = ffi.new("char[]", given["board"].encode())
    device_id = bytes.fromhex(given["device_id"])
    welcome = ffi.new(
        "struct cl_welcome *", {**given, "model_id": model_id, "board": board, "device_id": device_id}
    )
    return int(lib.cl_welcome_encode(welcome, payload))


def _encode_kept(kind: str, fields: dict[str, Any], payload: Any) -> int:
    ffi, lib = library()
    if kind == "SAVED":
        return int(lib.cl_saved_encode(ffi.new("struct cl_saved *", fields), payload))
    if kind == "RESTORED":
        state = ffi.new("struct cl_run_step *", (fields["run"], fields["step"]))
        return int(lib.cl_restored_encode(state, fields["weights_crc"], payload))
    if kind == "PROVISIONED":
        return int(lib.cl_provisioned_encode(bytes.fromhex(fields["device_id"]), payload))
    return int(lib.cl_forgotten_encode(payload))


def _encode(kind: str, fields: dict[str, Any], payload: Any) -> int:
    """Encodes a message of the board. Returns its bytes."""
    ffi, lib = library()
    data = bytes.fromhex(fields.get("data", ""))
    if kind == "WELCOME":
        count = _encode_welcome(fields, payload)
    elif kind == "ACTIVATION":
        count = lib.cl_activation_encode(ffi.new("struct cl_activation_head *", fields), payload)
    elif kind == "APPLIED":
        count = lib.cl_applied_encode(ffi.new("struct cl_applied *", fields), payload)
    elif kind in ("CONFIGURED", "CLEARED"):
        count = lib.cl_step_encode(getattr(lib, f"CL_{kind}"), fields["last_step"], payload)
    elif kind == "RESCALED":
        count = lib.cl_rescaled_encode(fields["scale"], fields["zero_point"], fields["last_step"], payload)
    elif kind in ("SAVED", "RESTORED", "PROVISIONED", "FORGOTTEN"):
        count = _encode_kept(kind, fields, payload)
    elif kind == "ERROR":
        count = lib.cl_error_encode(fields["about"], fields["code"], fields["detail"], payload)
    elif kind == "PIECE":
        count = lib.cl_piece_encode(fields["count"], fields["first"], payload)
    elif kind == "DATA_READ":
        read = {name: fields[name] for name in ("section", "count", "offset")}
        count = lib.cl_data_read_encode(ffi.new("struct cl_read *", read), fields["total"], payload)
    else:
        counters = ffi.new("uint32_t[]", np.frombuffer(data, "<u4").tolist())
        return int(lib.cl_stats_are_encode(counters, fields["n"], payload))
    ffi.memmove(payload + count, data, len(data))
    return int(count) + len(data)


@messages_of(*BOARD_KINDS)
def test_messages_of_the_board(case: dict[str, Any]) -> None:
    payload = library()[0].new("uint8_t[]", 256)
    count = _encode(case["kind"], case["fields"], payload)
    assert bytes(library()[0].buffer(payload, count)).hex() == case["payload"]


def test_refused_messages() -> None:
    ffi, lib = library()
    for case in vectors("messages")["refused"]:
        payload = bytes.fromhex(case["payload"])
        result = lib.cl_message_decode(ffi.new("struct cl_message *"), payload, len(payload))
        assert result == case["code"], case["name"]


def test_activations() -> None:
    ffi, lib = library()
    for case in vectors("codecs")["activations"]:
        values, expected = case["values"], bytes.fromhex(case["data"])
        data, sent = ffi.new("uint8_t[]", 600), ffi.new("int8_t[]", len(values))
        codec, zero_point = case["codec"], case["zero_point"]
        encoder = ffi.new("struct cl_encoder *")
        lib.cl_codec_begin(encoder, codec, zero_point, len(values), data, 600)
        assert lib.cl_codec_put(encoder, int8(values), len(values)) == len(values)
        assert bytes(ffi.buffer(data, lib.cl_codec_bytes(encoder))) == expected, case
        assert lib.cl_codec_decode(codec, zero_point, expected, len(expected), len(values), sent) == 0
        assert list(sent) == case["sent"], case


def test_gradients() -> None:
    ffi, lib = library()
    for case in vectors("codecs")["gradients"]:
        values, data = case["values"], bytes.fromhex(case["data"])
        ends = (case["activation_min"], case["activation_max"])
        clamp = ffi.new("struct cl_clamp *", lib.cl_clamp_of(case["activation_codec"], *ends))
        count = len(values)
        mask = ffi.new("uint8_t[]", count // 8 + 1)
        lib.cl_mask_put(mask, clamp, 0, int8(values), count)
        assert [mask[i // 8] >> i % 8 & 1 for i in range(count)] == case["masked"]
        assert lib.cl_codec_gradient_bytes(case["codec"], mask, 0, count) == len(data)
        g, code = ffi.new("int8_t[]", count), ffi.new("uint32_t *")
        result = lib.cl_codec_gradient_decode(case["codec"], mask, 0, count, data, code, g)
        assert (result, list(g)) == (0, case["gradient"])
        packed = ffi.new("uint8_t[]", count + 1)
        result = lib.cl_codec_gradient_encode(
            case["codec"], mask, 0, count, int8(case["gradient"]), packed, count
        )
        assert bytes(ffi.buffer(packed, result)) == data
