"""Links: an end, what it is given and what it answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from frame_vectors import MAX_PAYLOAD

from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.link import Link, Lost, LostReason, Received, Role
from cutlayer_host.wire import HEADER_BYTES, WIRE_VERSION, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vector_json import Json

OTHER_VERSION = bytes([WIRE_VERSION + 1])


class Conversation:
    """One end of a link, what it is given and what it answers. `credit` is left out: it is each end's own."""

    def __init__(self, name: str, role: Role, parameters: Parameters) -> None:
        self.json: Json = {
            "name": name,
            "role": role.value,
            "parameters": dataclasses.asdict(parameters),
            "steps": [],
        }
        self.link = Link(role, parameters)
        self.now_ms = 0

    def connect(self, connection: int) -> None:
        self.link.connect(self.now_ms)
        self.link.connection = connection
        self._step({"connect": connection}, [])

    def receive(self, *sent: tuple[Header, bytes], after_ms: int = 10) -> None:
        self.now_ms += after_ms
        stream = b"".join(encode_frame(header.encode() + payload) for header, payload in sent)
        events = self.link.receive(stream, self.now_ms)
        self._step({"receive": stream.hex()}, events)

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.link.send(payload)
        self._step({"send": [payload.hex() for payload in payloads]}, [])

    def wait(self, wait_ms: int) -> None:
        self.now_ms += wait_ms
        self._step({"wait": wait_ms}, self.link.receive(b"", self.now_ms))

    def _step(self, step: Json, events: Iterable[Any]) -> None:
        told: list[Json] = []
        for event in events:
            if isinstance(event, Received):
                told.append({"received": event.payload.hex()})
            elif isinstance(event, Lost):
                # A board that another host takes over says only that there is a new connection.
                told += [{"lost": True}] if event.reason is not LostReason.REPLACED else []
            else:
                told.append({"connected": event.peer.max_payload})
        written = FrameDecoder().receive(self.link.transmit(self.now_ms))
        self.json["steps"].append(
            {"at_ms": self.now_ms, **step, "events": told, "written": [as_json(body) for body in written]}
        )


def as_json(body: bytes) -> Json:
    """A body without its credit."""
    header = Header.decode(body)
    fields = {name: value for name, value in header._asdict().items() if name != "credit"}
    return {**fields, "kind": FrameKind(header.kind).name, "payload": body[HEADER_BYTES:].hex()}


def links() -> Json:
    """Conversations of a board with the frames of a host, and the other way round."""
    parameters = Parameters(max_payload=MAX_PAYLOAD, window_bytes=2000, window_frames=5)
    host = Parameters(max_payload=300, window_bytes=1500, window_frames=4).encode()
    made = []

    def board(name: str) -> Conversation:
        conversation = Conversation(name, Role.BOARD, parameters)
        made.append(conversation.json)
        return conversation

    def opened(name: str) -> Conversation:
        conversation = board(name)
        conversation.receive((Header(FrameKind.SYN, 7, credit=1500), host))
        return conversation

    def data(seq: int, payload: bytes, **fields: int) -> tuple[Header, bytes]:
        return Header(FrameKind.DATA, 7, seq=seq, credit=1500, **fields), payload

    talk = opened("connect, and SYN again")
    talk.receive((Header(FrameKind.SYN, 7, credit=1500), host))
    talk = opened("another host takes over")
    talk.receive(data(0, b"one"))
    talk.receive((Header(FrameKind.SYN, 8, credit=1500), host))
    talk.receive(data(1, b"stale"))
    talk.receive((Header(FrameKind.DATA, 8, credit=1500), b"new"))
    talk = board("another wire version")
    talk.receive((Header(FrameKind.SYN, 7, credit=1500), OTHER_VERSION + host[1:] + b"more"))
    talk.receive(data(0, b"x"))
    talk = board("no connection")
    talk.receive(data(0, b"x"))
    talk.receive((Header(FrameKind.ACK, 9), b""))
    talk.receive((Header(FrameKind.RESET, 9), b""))
    talk = opened("in order")
    for seq in range(3):
        talk.receive(data(seq, bytes([seq]) * (seq + 1)))
    talk = opened("several at once, one answer")
    talk.receive(*(data(seq, bytes([seq])) for seq in range(4)))
    talk = opened("out of order, repeated, beyond the window")
    for seq in (1, 3, 1, 5, 0, 0, 2, 4, 3):
        talk.receive(data(seq, bytes([seq, 0])))
    talk = opened("the answer carries the acknowledgement")
    talk.receive(data(0, b"question"))
    talk.send(b"answer")
    talk.receive(data(1, b"more", ack=1))
    talk = opened("window of the other side")
    talk.send(*(bytes([seq]) * 100 for seq in range(6)))
    talk.receive((Header(FrameKind.ACK, 7, ack=2, credit=1500), b""))
    talk = opened("no credit")
    talk.send(bytes(200), bytes(200))
    talk.receive((Header(FrameKind.ACK, 7, ack=2, credit=100), b""))
    talk.send(bytes(200))
    talk.receive((Header(FrameKind.ACK, 7, ack=2, credit=300), b""))
    talk = opened("a later arrival shows the loss")
    talk.send(b"a", b"b", b"c", b"d")
    talk.receive((Header(FrameKind.ACK, 7, ack=1, sack=0b10, credit=1500), b""))
    talk.receive((Header(FrameKind.ACK, 7, ack=4, credit=1500), b""))
    talk = opened("impossible acknowledgements")
    talk.send(b"a", b"b")
    for ack in (3, 65535):
        talk.receive((Header(FrameKind.ACK, 7, ack=ack, credit=0), b""))
    talk.receive((Header(FrameKind.ACK, 7, ack=2, credit=1500), b""))
    talk = opened("time-out of the oldest, then twice as long")
    talk.send(b"a", b"b")
    for wait_ms in (499, 1, 999, 1):
        talk.wait(wait_ms)
    talk = opened("PING is answered, ACK is not")
    talk.receive((Header(FrameKind.PING, 7, credit=1500), b""))
    talk.receive((Header(FrameKind.ACK, 7, credit=1500), b""))
    talk = opened("RESET ends the connection")
    talk.send(b"lost")
    talk.receive((Header(FrameKind.RESET, 7), b""))
    talk.receive(data(0, b"x"))
    talk = opened("bodies that their kind does not allow")
    talk.receive((Header(FrameKind.DATA, 7), b""))
    talk.receive((Header(FrameKind.PING, 7), b"x"))
    talk.receive((Header(FrameKind.DATA, 0), b"x"))
    talk.receive((Header(9, 7), b""))  # type: ignore[arg-type]
    talk.receive((Header(FrameKind.SYN, 8), host[:-1]))
    talk.receive((Header(FrameKind.SYN, 8), host[:1] + b"\0\x7f\0" + host[4:]))
    for end in (
        Conversation("connect", Role.HOST, parameters),
        Conversation("refused", Role.HOST, parameters),
    ):
        made.append(end.json)
        end.connect(77)
        end.wait(499)
        end.wait(1)
        end.receive((Header(FrameKind.DATA, 77), b"early"))
        version = host[:1] if end.json["name"] == "connect" else OTHER_VERSION
        end.receive((Header(FrameKind.SYN_ACK, 77, credit=1500), version + host[1:]))
        end.receive((Header(FrameKind.DATA, 77, credit=1500), b"first"))
    return {"conversations": made}
