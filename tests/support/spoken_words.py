"""Single words by espeak-ng, without silence or noise around them."""

from __future__ import annotations

from functools import cache

import numpy as np

from cutlayer_kws import speech
from cutlayer_kws.speech import Utterance

SAMPLES_A_SECOND = 16000


@cache
def spoken_word(text: str, variant: str = "m3", pitch: int = 50, words_a_minute: int = 160) -> np.ndarray:
    """One word at 16 kHz, float64 of peak 1."""
    samples, rate_hz = speech._speak(Utterance(text, "en-us", variant, pitch, words_a_minute, 0))
    loud = np.flatnonzero(np.abs(samples) > speech.SILENCE * np.abs(samples).max())
    said = speech._resample(samples[loud[0] : loud[-1] + 1], rate_hz)
    said /= np.abs(said).max()
    said.flags.writeable = False
    return said
