"""Frames: streams of bytes, and the bodies that are in them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cutlayer_host.wire import HEADER_BYTES, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from vector_json import Json

MAX_PAYLOAD = 256


def frames() -> Json:
    """Streams of bytes and the bodies in them; the first ones are single frames, as an encoder makes them."""
    rng = random.Random(1)
    bodies = {
        "zeros": bytes(12),
        "no zero": bytes(range(1, 13)),
        "check value of CRC-32": b"123456789abc",
        "a zero at each end": b"\0" + bytes(range(1, 11)) + b"\0",
        "longest": rng.randbytes(HEADER_BYTES + MAX_PAYLOAD),
        "longest, no zero": b"\xff" * (HEADER_BYTES + MAX_PAYLOAD),
        **{f"{count} bytes without a zero": b"\x01" * count for count in (249, 250, 251, 253, 254, 255, 256)},
        **{f"a zero after {count}": b"\x02" * count + b"\0\x03" for count in (252, 253, 254, 255)},
    }
    good = [
        {"name": name, "body": body.hex(), "frame": encode_frame(body).hex()} for name, body in bodies.items()
    ]
    one, two = encode_frame(bytes(range(12))), encode_frame(bytes(range(20, 40)))
    flipped = bytearray(one)
    flipped[5] ^= 0x10
    streams = {
        "two frames": one + two,
        "empty frames": b"\0\0" + one + b"\0" + two + b"\0\0",
        "a frame that is not whole": one + two[:-1],
        "leftovers before the first zero": b"\x07left" + b"\0" + one,
        "a flipped bit": bytes(flipped) + two,
        "a lost byte": one[:4] + one[5:] + two,
        "a doubled byte": one[:4] + one[3:] + two,
        "a lost zero": one[:-1] + two + one,
        "a zero inside": one[:5] + b"\0" + one[5:] + two,
        "a block beyond the end": b"\x20abc\0" + one,
        "body too short": encode_frame(bytes(11)) + one,
        "no body": encode_frame(b"") + one,
        "shorter than a check": b"\x02a\0" + one,
        "body too long": encode_frame(bytes(HEADER_BYTES + MAX_PAYLOAD + 1)) + one,
        "endless": b"\x05" * 2000 + b"\0" + one,
        "noise": bytes(byte or 1 for byte in rng.randbytes(100)) + b"\0" + two,
        "wrong check": encode_frame(bytes(12))[:-3] + b"\x01\x01\0" + one,
    }
    cases = []
    for name, stream in streams.items():
        decoder = FrameDecoder(MAX_PAYLOAD)
        found = decoder.receive(stream)
        counters = decoder.counters
        cases.append(
            {
                "name": name,
                "stream": stream.hex(),
                "bodies": [body.hex() for body in found],
                "malformed": counters.malformed,
            }
        )
    return {"max_payload": MAX_PAYLOAD, "frames": good, "streams": cases}
