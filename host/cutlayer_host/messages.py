"""All messages by their kind: from bytes to whichever it is (SPEC.md, section 3.1)."""

from __future__ import annotations

from cutlayer_host.board_messages import (
    Activation,
    Applied,
    Cleared,
    Configured,
    DataRead,
    Forgotten,
    Provisioned,
    Rescaled,
    Restored,
    Saved,
    StatsAre,
    Welcome,
)
from cutlayer_host.codes import ErrorCode, kind_name
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

MESSAGES: dict[int, type[Message]] = {
    message.KIND: message
    for message in (
        *(Hello, Welcome, Configure, Configured, Sample, Activation, Piece, Gradient, Apply, Applied),
        *(Clear, Cleared, Rescale, Rescaled, Read, DataRead, Stats, StatsAre, Save, Saved, Restore, Restored),
        *(Provision, Provisioned, Forget, Forgotten, Error),
    )
}


def decode(payload: bytes) -> Message:
    """The message in the payload of a DATA frame. Raises ProtocolError(LENGTH, KIND or VALUE)."""
    if not payload:
        raise ProtocolError("a message has 0 bytes, must have 1 or more", code=ErrorCode.LENGTH, about=0)
    message = MESSAGES.get(payload[0])
    if message is None:
        raise ProtocolError(
            f"a message of kind {kind_name(payload[0])} is unknown", code=ErrorCode.KIND, about=payload[0]
        )
    return message.decode(payload)
