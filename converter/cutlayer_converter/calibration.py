"""Calibration data: representative inputs of the model, from an .npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOW = "save inputs with np.savez(FILE, inputs), an array [samples, ...] as the model takes them"


def load_calibration(source: str | Path, input_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Loads "FILE.npz" (its first array) or "FILE.npz:KEY" as float32 [samples, *input_shape].

    Raises:
        ConvertError: There is no such file or array, or it does not fit the model, or is empty or not finite.
    """
    text = str(source)
    path, key = Path(text), ""
    if not path.exists() and ":" in text:
        stem, _, key = text.rpartition(":")
        path = Path(stem)
    name, values = _read(path, key)
    where = f"calibration data {path}: array {name!r}"
    if values.dtype.kind not in "fiu":
        raise ConvertError(f"{where} has the type {values.dtype}, not numbers", HOW)
    if values.shape[1:] != input_shape or values.ndim < 2:
        expected = ", ".join(str(size) for size in input_shape)
        raise ConvertError(
            f"{where} has the shape {values.shape}; the model takes (samples, {expected})", HOW
        )
    if not len(values):
        raise ConvertError(f"{where} is empty", "give at least one sample; 100 to 500 make good ranges")
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(values, np.float32)
    bad = ~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise ConvertError(
            f"{where} has NaN or infinite values in {int(bad.sum())} of {len(samples)} samples "
            f"(the first is sample {first})",
            "remove these samples, or mend what makes them",
        )
    if samples.min() == samples.max():
        raise ConvertError(f"{where} is {samples.flat[0]:g} everywhere: it tells no range", HOW)
    return samples


def _read(path: Path, key: str) -> tuple[str, NDArray[Any]]:
    if not path.is_file():
        raise ConvertError(f"calibration data {path}: no such file", HOW)
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ConvertError(f"calibration data {path}: one bare array, not an .npz file", HOW)
            return _pick(archive, path, key)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConvertError(f"calibration data {path}: cannot be read: {error}", HOW) from error


def _pick(archive: Any, path: Path, key: str) -> tuple[str, NDArray[Any]]:
    names = list(archive.files)
    if not names:
        raise ConvertError(f"calibration data {path}: holds no array", HOW)
    name = key or names[0]
    if name not in names:
        raise ConvertError(f"calibration data {path}: holds no array {name!r}", f"it has: {', '.join(names)}")
    return name, archive[name]
