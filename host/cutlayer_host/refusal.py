"""What a board that refuses, or a link that is lost, means to the user: the error, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutlayer_host.codes import ErrorCode, Kind, SensorCode, error_name, kind_name
from cutlayer_host.errors import DeviceError, HostError, KeyMismatch, LinkLost, WireVersionMismatch
from cutlayer_host.link import Lost, LostReason
from cutlayer_host.pump import LOST_HINT
from cutlayer_host.wire import WIRE_VERSION

if TYPE_CHECKING:
    from cutlayer_host.session import Refused

_KEY_HINTS = {
    LostReason.SEALED: "this host was told to connect without keys: leave --insecure out",
    LostReason.UNKEYED: "give it a key by `cutlayer provision`, or connect without: --insecure",
    LostReason.UNKNOWN: "its key is in another key file ($CUTLAYER_KEYS), or on another computer",
    LostReason.UNPROVED: "provision it again; if it was not you who changed its key, do not use it",
}

_REFUSAL_HINTS = {
    -6: "the board's firmware may be older than this host: flash it again",
    -9: "the board has dropped part of the step: clear it and do the step again",
    -10: "the board has no such recording, or its sensor failed: check --samples and the microphone's file",
    -11: "use a smaller --batch-size",
    -13: "the board has no storage, or it is full or failing: train without saving",
    -14: "give the board a key: cutlayer provision; a firmware without keys (CUTLAYER_INSECURE) takes none",
}

_LIMIT_HINTS: dict[int, str] = {
    Kind.CONFIGURE: "the board lets no host cut there: convert the bundle with --shallowest-cut and flash it",
    Kind.PIECE: "the gradient's norm is beyond what the board takes: lower the learning rate, or build the "
    "board with a larger cutlayer.gradient_norm_max",
    Kind.APPLY: "lower the learning rate, or build the board with a larger cutlayer.learning_rate_max",
}


def lost_error(url: str, lost: Lost) -> HostError:
    """Says why the connection with the board at `url` ended."""
    if lost.reason is LostReason.VERSION:
        return WireVersionMismatch(
            f"{url} speaks wire version {lost.wire_version}, this host version {WIRE_VERSION}",
            "flash the board with a firmware of this version of cutlayer",
        )
    if (hint := _KEY_HINTS.get(lost.reason)) is not None:
        return KeyMismatch(f"{url}: {lost.reason.value}", hint)
    return LinkLost(f"{url}: {lost.reason.value}", LOST_HINT)


def refusal_error(url: str, event: Refused) -> DeviceError:
    """Says what the board at `url` refused, and why."""
    detail, hint = event.detail, _REFUSAL_HINTS.get(event.code)
    if event.code == ErrorCode.LIMIT:
        hint = _LIMIT_HINTS.get(event.about)
    if event.code in (ErrorCode.SENSOR, ErrorCode.STORAGE):
        detail -= 2**32 if detail >= 2**31 else 0
    if (event.code, detail) == (ErrorCode.SENSOR, SensorCode.NOTHING_HEARD):
        reason, hint = "its microphone heard nothing", "speak, or check the microphone"
    else:
        reason = f"{error_name(event.code)} (detail {detail})"
    return DeviceError(
        f"{url} refused {kind_name(event.about)}: {reason}",
        hint,
        code=event.code,
        about=event.about,
        detail=event.detail,
    )
