"""Seals: handshakes, and the frames that both ends seal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.guard import (
    DEVICE_ID_BYTES,
    KEY_BYTES,
    SYN_BYTES,
    BoardGuard,
    HostGuard,
    Seal,
    Security,
    Transcript,
)

if TYPE_CHECKING:
    from vector_json import Json


def seals() -> Json:
    """Handshakes, and frames sealed by the host and by the board with what comes of them."""
    rng = random.Random(4)
    limits = Parameters(max_payload=300, window_bytes=1500, window_frames=4)
    made = []
    for connection in (1, 0x1234, 0xFFFF):
        key, device_id = rng.randbytes(KEY_BYTES), rng.randbytes(DEVICE_ID_BYTES)
        host = HostGuard({device_id: key}.get, rng.randbytes)
        board = BoardGuard(device_id, key, rng.randbytes)
        syn = host.introduce(connection, limits.encode(Security.SEALED))
        board.meet(connection, syn)
        syn_ack = board.introduce(connection, Parameters().encode(Security.SEALED))
        transcript = Transcript(connection, syn, syn_ack[:SYN_BYTES], device_id)
        host_seal = host.meet(syn_ack)
        assert isinstance(host_seal, Seal)
        hello = Header(FrameKind.PING, connection, credit=1500).encode()
        first = host_seal.seal(hello)
        opened = board.open(connection, first)
        assert opened is not None
        frames = [{"from": "host", "counter": 0, "body": hello.hex(), "sealed": first.hex()}]
        for count in (0, 1, 15, 16, 17, 63, 64, 65, 300):
            for name, seal in (("host", host_seal), ("board", opened[2])):
                kind = FrameKind.DATA if count else FrameKind.ACK
                body = Header(kind, connection, seq=count, credit=7).encode() + rng.randbytes(count)
                counter = seal.sent
                sealed = seal.seal(body).hex()
                frames.append({"from": name, "counter": counter, "body": body.hex(), "sealed": sealed})
        made.append(
            {
                "name": f"connection {connection}",
                "connection": connection,
                "device_id": device_id.hex(),
                "key": key.hex(),
                "syn": syn.hex(),
                "syn_ack": syn_ack.hex(),
                "transcript": transcript.encode().hex(),
                "keys": b"".join(transcript.keys(key)).hex(),
                "proof": transcript.proof(key).hex(),
                "frames": frames,
            }
        )
    return {"seals": made}
