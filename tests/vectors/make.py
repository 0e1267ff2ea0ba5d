"""Makes the vectors that the C and the Python code both read: run this file, and it writes them beside it.

Bytes are hex. What is in the files is committed; a test checks that it is what this makes.
"""

from __future__ import annotations

import dataclasses
import json
import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_host import tensors
from cutlayer_host.board_messages import (
    NOTHING,
    Activation,
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    RunStep,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.body import FrameKind, Header, Parameters
from cutlayer_host.codes import (
    ACTIVATION_CODECS,
    GRADIENT_CODECS,
    LIVE_RECORDING,
    Flag,
    Kind,
    Mode,
    Optimizer,
    Section,
    error_name,
)
from cutlayer_host.errors import ProtocolError
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
from cutlayer_host.host_messages import (
    Apply,
    Clear,
    Configure,
    Forget,
    Gradient,
    Hello,
    Provision,
    Read,
    Rescale,
    Restore,
    Sample,
    Save,
    Stats,
)
from cutlayer_host.link import Link, Lost, LostReason, Received, Role
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode
from cutlayer_host.wire import HEADER_BYTES, WIRE_VERSION, FrameDecoder, encode_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent
MAX_PAYLOAD = 256
OTHER_VERSION = bytes([WIRE_VERSION + 1])
Json = dict[str, Any]


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


def messages() -> Json:
    """Messages field by field, and payloads that are refused."""
    good: list[Message] = [
        Hello(),
        Welcome(
            firmware_version=(1, 2, 3),
            flags=Flag.TRAINABLE | Flag.CONFIGURED,
            optimizers=3,
            codecs=0x17,
            model_id=bytes(range(32)),
            board="qemu_mps2_an386",
            last_step=0x01020304,
            recordings=70_000,
            smashed_count=8192,
            weight_count=4096,
            channel_count=64,
            output_scale=0.046875,
            output_zero_point=-128,
            arena_bytes=40_000,
            train_bytes=70_000,
            cut_count=5,
            run=0xCAFE0001,
            saved=(RunStep(0xCAFE0001, 0x01020300), NOTHING),
            saves=70_001,
            device_id=bytes(range(8)),
        ),
        Configure(
            restart=True,
            cut=3,
            activation_codec=17,
            gradient_codec=1,
            optimizer=Optimizer.ADAM,
            momentum=0.875,
            beta2=0.9990234375,
            epsilon=2.0**-20,
            run=0xCAFE0001,
        ),
        Configure(optimizer=Optimizer.SGD),
        Configured(last_step=7),
        Sample(mode=Mode.TRAIN, sample=1, recording=2),
        Sample(mode=Mode.INFER, sample=0xFFFFFFFF, recording=LIVE_RECORDING),
        Activation(
            codec=16,
            label=-1,
            sample=9,
            count=4096,
            scale=0.015625,
            zero_point=-3,
            activation_min=-3,
            activation_max=127,
            saturated=12,
            crc=0xDEADBEEF,
        ),
        Piece(count=3, first=100_000, data=b"\x01\x80\xff"),
        Piece(count=65535, first=0, data=b""),
        Gradient(codec=1, sample=9, count=4096, scale=2.0**-12),
        Apply(samples=16, step=8, learning_rate=0.0009765625),
        Applied(step=8, weights_crc=0x12345678, saturated=99),
        Clear(),
        Cleared(last_step=8),
        Rescale(zero_point=-100, scale=0.0625),
        Rescaled(zero_point=-100, scale=0.0625, last_step=8),
        Read(section=Section.MASTER, count=500, offset=1000),
        DataRead(section=3, count=4, offset=1000, total=2000, data=b"abcd"),
        Stats(),
        StatsAre.of(range(18)),
        Save(step=8),
        Saved(step=8, saves=70_001, bytes=50_000),
        Restore(run=0xCAFE0001, step=8),
        Restored(run=0xCAFE0001, step=8, weights_crc=0x12345678),
        Provision(device_id=bytes(range(8)), key=bytes(range(32))),
        Provisioned(device_id=bytes(range(8))),
        Forget(),
        Forgotten(),
        Error(about=Kind.SAMPLE, code=-10, detail=70_000),
    ]
    quiet, scale = float("nan"), Gradient.LAYOUT.size - 4
    gradient = Gradient(sample=1, count=4, scale=1.0).encode()
    configure = Configure().encode()
    bad = {
        "empty": b"",
        "unknown kind": b"\x0e\0\0\0",
        "another unknown kind": b"\xff",
        "HELLO short": Hello().encode()[:-1],
        "HELLO long": Hello().encode() + b"\0",
        "SAMPLE short": Sample(sample=1).encode()[:-1],
        "SAMPLE mode": b"\x03\x02" + bytes(10),
        "CONFIGURE restart": configure[:1] + b"\x02" + configure[2:],
        "CONFIGURE activation codec": configure[:4] + b"\x03" + configure[5:],
        "CONFIGURE gradient codec": configure[:5] + b"\x10" + configure[6:],
        "CONFIGURE optimizer": configure[:6] + b"\x02" + configure[7:],
        "CONFIGURE momentum": configure[:8] + np.float32(1.0).tobytes() + configure[12:],
        "CONFIGURE beta 2": configure[:12] + np.float32(quiet).tobytes() + configure[16:],
        "CONFIGURE Adam without epsilon": configure[:6] + b"\x01" + configure[7:],
        "CONFIGURE epsilon": configure[:16] + np.float32(-1.0).tobytes() + configure[20:],
        "GRADIENT codec": gradient[:1] + b"\x03" + gradient[2:],
        "GRADIENT count": gradient[:8] + bytes(4) + gradient[12:],
        "GRADIENT scale 0": gradient[:scale] + bytes(4),
        "GRADIENT scale not finite": gradient[:scale] + np.float32(np.inf).tobytes(),
        "GRADIENT scale negative": gradient[:scale] + np.float32(-1.0).tobytes(),
        "PIECE short": b"\x10\0\x01\0\0\0\0",
        "PIECE count": b"\x10" + bytes(7),
        "APPLY samples": b"\x05" + bytes(7) + np.float32(1.0).tobytes(),
        "APPLY learning rate": b"\x05\0\x01\0" + bytes(8),
        "RESCALE scale": b"\x07" + bytes(11),
        "READ section": b"\x08\x06\x01" + bytes(9),
        "READ count": b"\x08" + bytes(11),
        "STATS short": b"\x09\0\0",
        "SAVE short": Save(step=1).encode()[:-1],
        "PROVISION short": Provision(device_id=bytes(8), key=bytes(32)).encode()[:-1],
        "CLEAR long": b"\x06" + bytes(4),
    }
    refused = []
    for name, payload in bad.items():
        try:
            decode(payload)
        except ProtocolError as error:
            refused.append(
                {"name": name, "payload": payload.hex(), "code": error.code, "is": error_name(error.code)}
            )
    assert len(refused) == len(bad)
    return {
        "messages": [
            {"kind": message.KIND.name, "fields": _fields(message), "payload": message.encode().hex()}
            for message in good
        ],
        "refused": refused,
    }


def _fields(message: Message) -> Json:
    values = dataclasses.asdict(message)  # type: ignore[call-overload]
    return {
        name: value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def codecs() -> Json:
    """Activations under every codec, and gradients with their masks under every pair of codecs."""
    rng = np.random.default_rng(1)
    tensor_of = {
        "every value": np.arange(-128, 128).astype(np.int8),
        "half zeros": np.where(rng.random(37) < 0.5, -128, rng.integers(-128, 128, 37)).astype(np.int8),
        "one": np.array([5], np.int8),
        "all at the zero point": np.full(17, -128, np.int8),
    }
    activations, gradients = [], []
    for name, values in tensor_of.items():
        zero_point = 3 if name == "every value" else -128
        for codec in ACTIVATION_CODECS:
            data = tensors.activation_data(values, codec, zero_point)
            activations.append(
                {
                    "name": name,
                    "codec": codec,
                    "zero_point": zero_point,
                    "values": values.tolist(),
                    "data": data.hex(),
                    "sent": tensors.as_sent(values, codec).tolist(),
                    "crc": zlib.crc32(values.data),
                }
            )
        for codec in GRADIENT_CODECS:
            for activation_codec in ACTIVATION_CODECS[:3]:
                low, high = (-128, 127) if name == "one" else (-120, 100)
                mask = tensors.masked(values, activation_codec, low, high)
                limit = tensors.GRADIENT_LIMITS[codec]
                g = rng.integers(-limit, limit, values.size, endpoint=True).astype(np.int8)
                gradients.append(
                    {
                        "name": name,
                        "codec": codec,
                        "activation_codec": activation_codec,
                        "activation_min": low,
                        "activation_max": high,
                        "values": values.tolist(),
                        "masked": mask.astype(int).tolist(),
                        "gradient": np.where(mask, 0, g).tolist(),
                        "data": tensors.gradient_data(g, mask, codec).hex(),
                    }
                )
    return {"activations": activations, "gradients": gradients}


def made() -> dict[str, str]:
    """The files by name."""
    parts = {
        "frames": frames(),
        "links": links(),
        "seals": seals(),
        "messages": messages(),
        "codecs": codecs(),
    }
    return {f"{name}.json": _text(part) for name, part in parts.items()}


def _text(part: Json) -> str:
    """One case a line, so that a change shows what it changes."""
    lists = []
    for name, value in part.items():
        if isinstance(value, list):
            cases = ",\n".join("  " + json.dumps(case) for case in value)
            lists.append(f" {json.dumps(name)}: [\n{cases}\n ]")
        else:
            lists.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lists) + "\n}\n"


if __name__ == "__main__":
    for name, text in made().items():
        (FOLDER / name).write_text(text)
