"""What can go wrong on the host.

CutlayerError (cutlayer_boards.errors)
    HostError
        TransportError          a byte pipe that cannot be named, opened, read or written
        LinkError
            LinkLost            the board stopped answering, reset its side or closed the pipe
            BoardAbsent         a board whose link was lost did not come back in time
            WireVersionMismatch the board speaks another version of the wire
            KeyMismatch         the two sides do not hold the same key, or only one of them wants one
        DeviceError             the board refused a message: the code, the message and the detail of its ERROR
            DeviceTimeout       the link is alive, but the board did not answer in time
            DeviceFault         the board's answer contradicts what was asked, or its CRC
            ProtocolError       the board sent bytes that no message may have (SPEC.md, section 3)
        BundleMismatch          the board runs another model than the bundle
        TailError               a tail that cannot be loaded, or that does not fit the cut
        NumberError             a loss or a gradient that is not finite
        LabelError              a sample without a label, or with one that the tail does not know
        StoreError              a run directory that cannot be read or written
        LessonBroken            an exception that nobody foresaw has ended a board's lesson
"""

from __future__ import annotations

from cutlayer_boards.errors import CutlayerError


class HostError(CutlayerError):
    """Something went wrong on the host's side of the link."""


class TransportError(HostError):
    """A byte pipe cannot be named, opened, read or written."""


class LinkError(HostError):
    """There is no usable link to the board."""


class LinkLost(LinkError):
    """The board stopped answering, reset its side or closed the pipe."""


class BoardAbsent(LinkError):
    """A board whose link was lost did not come back in time."""


class WireVersionMismatch(LinkError):
    """The board speaks another version of the wire."""


class KeyMismatch(LinkError):
    """The two sides do not hold the same key, or only one of them wants one."""


class DeviceError(HostError):
    """The board refused a message.

    Attributes:
        code: a `cl_error` of firmware/include/cutlayer/error.h, 0 where the host found the fault itself.
        about: the kind of the message at fault, 0 likewise.
        detail: what the board adds, its meaning depends on the code.
    """

    def __init__(
        self, message: str, hint: str | None = None, *, code: int = 0, about: int = 0, detail: int = 0
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.about = about
        self.detail = detail


class DeviceTimeout(DeviceError):
    """The link is alive, but the board did not answer in time."""


class DeviceFault(DeviceError):
    """The board's answer contradicts what was asked of it, or its own CRC."""


class ProtocolError(DeviceError):
    """A message breaks SPEC.md, section 3: `code` and `about` are what ERROR tells the sender."""


class BundleMismatch(HostError):
    """The board runs another model than the bundle's."""


class TailError(HostError):
    """A tail cannot be loaded, or does not fit the cut."""


class NumberError(HostError):
    """A loss or a gradient is not finite, so that the step cannot be used."""


class LabelError(HostError):
    """A sample has no label, or one that the tail does not know."""


class StoreError(HostError):
    """A run directory cannot be read or written."""


class LessonBroken(HostError):
    """An exception that nobody foresaw, a tail's say, has ended a board's lesson; it is the cause."""
