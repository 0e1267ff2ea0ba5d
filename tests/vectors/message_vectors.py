"""Messages: their fields, and payloads that are refused."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

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
from cutlayer_host.codes import LIVE_RECORDING, Flag, Kind, Mode, Optimizer, Section, error_name
from cutlayer_host.errors import ProtocolError
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
from cutlayer_host.message import Error, Message, Piece
from cutlayer_host.messages import decode

if TYPE_CHECKING:
    from vector_json import Json


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
