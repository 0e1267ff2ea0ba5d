"""firmware/lib/kws's onset and word in C, fed with sound from Python."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from core import ROOT, core_library

KWS = ROOT / "firmware" / "lib" / "kws"
CHUNK = 160
PREROLL_CHUNKS = 24
WORD_CHUNKS = 100
WINDOW_CHUNKS = 3


@cache
def word_library() -> tuple[Any, Any]:
    return core_library(
        [KWS / "src" / "onset.c", KWS / "src" / "word.c"], ["kws/word.h"], include=(KWS / "include",)
    )


def chunks_of(sound: np.ndarray) -> np.ndarray:
    """int16 [chunks, CHUNK], the rest dropped."""
    return sound[: len(sound) // CHUNK * CHUNK].astype(np.int16).reshape(-1, CHUNK)


def onset_chunk(sound: np.ndarray) -> int | None:
    """The chunk with which speech has begun, None when it has not."""
    ffi, lib = word_library()
    onset = ffi.new("struct kws_onset *")
    lib.kws_onset_init(onset)
    for number, chunk in enumerate(chunks_of(sound)):
        if lib.kws_onset_chunk(onset, ffi.from_buffer("int16_t[]", np.ascontiguousarray(chunk))):
            return number
    return None


def hear_word(sound: np.ndarray, *, lag: int = 0) -> list[int]:
    """The recording that comes of a sound, as the number of the last chunk of each window in it.

    Whoever takes its spectra takes one in `lag` + 1 turns.
    """
    ffi, lib = word_library()
    word = ffi.new("struct kws_word *")
    lib.kws_word_init(word, 0)
    taken: list[int] = []
    heard = chunks_of(sound)
    position = 0
    for turn in range(2 * (lag + 1) * (len(heard) + WORD_CHUNKS)):
        slot = lib.kws_word_slot(word)
        assert lib.kws_word_slot(word) == slot
        if slot != ffi.NULL and position < len(heard):
            chunk = np.ascontiguousarray(heard[position])
            lib.kws_word_heard(word, ffi.from_buffer("int16_t[]", chunk))
            if position >= WINDOW_CHUNKS - 1:
                slot[0] = slot[39] = position
                lib.kws_word_filled(word)
            position += 1
        spectrum = lib.kws_word_next(word) if turn % (lag + 1) == 0 else ffi.NULL
        if spectrum != ffi.NULL:
            assert spectrum[0] == spectrum[39]
            taken.append(int(spectrum[0]))
    return taken
