"""Keys, proofs and seals of a connection (SPEC.md, section 2.6), on Monocypher. No I/O, no clock.

A host's and a board's guard do the handshake, and give a Seal when a connection has come to be. Keys are in
nobody's repr.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import TypeAlias

import monocypher

from cutlayer_host.wire import HEADER_BYTES, SEAL_BYTES

KEY_BYTES = 32
DEVICE_ID_BYTES = 8
NONCE_BYTES = 24
PROOF_BYTES = 16
TAG_BYTES = 16
PARAMETERS_BYTES = 8
SYN_BYTES = PARAMETERS_BYTES + NONCE_BYTES
SYN_ACK_BYTES = SYN_BYTES + DEVICE_ID_BYTES + PROOF_BYTES
COUNTER_END = 0xFFFFFFFF
REPLAY_FRAMES = 64

_COUNTER = struct.Struct("<I")
_NUMBER = struct.Struct("<H")
_ZEROS = bytes(NONCE_BYTES - _COUNTER.size)
_SEALED_AT = HEADER_BYTES + _COUNTER.size

KeyFinder: TypeAlias = Callable[[bytes], bytes | None]
"""The key of the device with this id, or None."""
RandomBytes: TypeAlias = Callable[[int], bytes]


class Security(enum.IntEnum):
    """Byte 1 of the parameters."""

    PLAIN = 0
    SEALED = 1


class Refusal(enum.Enum):
    """Why a SYN_ACK makes no sealed connection."""

    UNKEYED = "the board has no key"
    UNKNOWN = "no key is known for this board"
    UNPROVED = "the board does not hold the key that is known for it"


@dataclass(frozen=True, slots=True)
class Transcript:
    """What both sides have said: of it, and of the device's key, everything of a connection is made."""

    connection: int
    syn: bytes  # the host's parameters and nonce
    syn_ack: bytes  # the board's
    device_id: bytes

    def encode(self) -> bytes:
        """To 82 bytes."""
        return b"cutlayer" + _NUMBER.pack(self.connection) + self.syn + self.syn_ack + self.device_id

    def keys(self, key: bytes) -> tuple[bytes, bytes]:
        """The keys of frames to the board, and to the host."""
        made = blake2b(b"\x01" + self.encode(), key=key, digest_size=2 * KEY_BYTES).digest()
        return made[:KEY_BYTES], made[KEY_BYTES:]

    def proof(self, key: bytes) -> bytes:
        """That the board holds the key: 16 bytes."""
        return blake2b(b"\x02" + self.encode(), key=key, digest_size=PROOF_BYTES).digest()


class CounterSpent(Exception):
    """No frame more can be sealed with this connection's key."""


class Seal:
    """What seals and opens the frames of one connection. Counters count frames, whatever is in them."""

    def __init__(self, sending_key: bytes, receiving_key: bytes) -> None:
        self._sending_key = sending_key
        self._receiving_key = receiving_key
        self.sent = 0
        self.seen = 0  # one more than the highest counter that opened
        self.refused = 0
        self.again = 0  # of them: opened before, or too old to tell
        self._opened = 0  # bit i: the frame of counter seen - 1 - i was opened

    def seal(self, body: bytes) -> bytes:
        """Raises CounterSpent at the counter's end."""
        if self.sent == COUNTER_END:
            raise CounterSpent
        counter = _COUNTER.pack(self.sent)
        self.sent += 1
        bound = body[:HEADER_BYTES] + counter
        tag, text = monocypher.lock(self._sending_key, counter + _ZEROS, body[HEADER_BYTES:], bound)
        return b"".join((bound, text, tag))

    def open(self, sealed: bytes) -> bytes | None:
        """The body; None when it was sealed with another key, changed on its way, or opened before."""
        body = self._open(sealed)
        if body is None:
            self.refused += 1
        return body

    def _open(self, sealed: bytes) -> bytes | None:
        if len(sealed) < HEADER_BYTES + SEAL_BYTES:
            return None
        (counter,) = _COUNTER.unpack_from(sealed, HEADER_BYTES)
        if counter == COUNTER_END:
            return None
        age = self.seen - 1 - counter
        if age >= 0 and (age >= REPLAY_FRAMES or self._opened >> age & 1):
            self.again += 1
            return None
        text = monocypher.unlock(
            self._receiving_key,
            sealed[HEADER_BYTES:_SEALED_AT] + _ZEROS,
            sealed[-TAG_BYTES:],
            sealed[_SEALED_AT:-TAG_BYTES],
            sealed[:_SEALED_AT],
        )
        if text is None:
            return None
        if age < 0:
            self._opened = self._opened << -age & (1 << REPLAY_FRAMES) - 1
            self.seen = counter + 1
        self._opened |= 1 << max(age, 0)
        return sealed[:HEADER_BYTES] + bytes(text)


class HostGuard:
    """The host's end of the handshake."""

    def __init__(self, key: KeyFinder, random_bytes: RandomBytes = os.urandom) -> None:
        self._key = key
        self._random_bytes = random_bytes
        self._connection = 0
        self._syn = b""
        self.device_id = b""  # of the last board that answered

    def introduce(self, connection: int, parameters: bytes) -> bytes:
        """The payload of SYN: the same for all of a connection."""
        if connection != self._connection or not self._syn:
            self._connection = connection
            self._syn = parameters + self._random_bytes(NONCE_BYTES)
        return self._syn

    def meet(self, payload: bytes) -> Seal | Refusal:
        """Takes the payload of SYN_ACK."""
        if payload[1] == Security.PLAIN:
            return Refusal.UNKEYED
        if len(payload) < SYN_ACK_BYTES:
            return Refusal.UNPROVED
        self.device_id = payload[SYN_BYTES : SYN_BYTES + DEVICE_ID_BYTES]
        key = self._key(self.device_id)
        if key is None:
            return Refusal.UNKNOWN
        transcript = Transcript(self._connection, self._syn, payload[:SYN_BYTES], self.device_id)
        proof = payload[SYN_BYTES + DEVICE_ID_BYTES : SYN_ACK_BYTES]
        if not compare_digest(transcript.proof(key), proof):
            return Refusal.UNPROVED
        to_board, to_host = transcript.keys(key)
        self._syn = b""
        return Seal(to_board, to_host)


class BoardGuard:
    """The board's end: answers everybody, and believes who can seal a frame."""

    def __init__(self, device_id: bytes, key: bytes, random_bytes: RandomBytes = os.urandom) -> None:
        self._device_id = device_id
        self._key = key
        self._random_bytes = random_bytes
        self._greeting: tuple[int, bytes] | None = None  # connection and payload of the last SYN
        self._answer = b""
        self._pending: tuple[Seal, int, bytes] | None = None  # with its connection and SYN

    def meet(self, connection: int, payload: bytes) -> None:
        """Takes the payload of SYN; it costs a handshake and changes no connection."""
        greeting = (connection, payload[:SYN_BYTES])
        # The same SYN again gets the same answer: the host may have the first one by now.
        if payload[1] != Security.PLAIN and len(payload) >= SYN_BYTES and greeting != self._greeting:
            self._greeting = greeting
            self._answer = b""

    def introduce(self, connection: int, parameters: bytes) -> bytes:
        """The payload of SYN_ACK."""
        if self._greeting is None or self._greeting[0] != connection:
            return parameters
        if not self._answer:
            said = parameters + self._random_bytes(NONCE_BYTES)
            transcript = Transcript(connection, self._greeting[1], said, self._device_id)
            to_board, to_host = transcript.keys(self._key)
            self._pending = Seal(to_host, to_board), *self._greeting
            self._answer = said + self._device_id + transcript.proof(self._key)
        return self._answer

    def open(self, connection: int, sealed: bytes) -> tuple[bytes, bytes, Seal] | None:
        """The body of the first frame of a new connection, its host's parameters and its seal."""
        if self._pending is None or self._pending[1] != connection:
            return None
        seal, _, syn = self._pending
        body = seal.open(sealed)
        if body is None:
            return None
        self._pending = self._greeting = None
        return body, syn[:PARAMETERS_BYTES], seal
