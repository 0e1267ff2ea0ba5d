"""Output folders that are whole, or not there."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OTHER_FOLDER_HINT = "name a new folder with --out"


def check_replaceable(folder: Path, parts: Collection[str], what: str) -> set[str]:
    """Checks that `folder` can be made, or holds nothing but `parts`; returns the names in it.

    Raises:
        ConvertError: It is no folder, or holds something that is no part of `what`.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConvertError(f"{folder}: is there and no folder", OTHER_FOLDER_HINT)
    present = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if strange := sorted(present - set(parts)):
        message = f"{folder}: holds {strange[0]!r}, which is no part of {what}; nothing is overwritten"
        raise ConvertError(message, OTHER_FOLDER_HINT)
    return present


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write into; at the end it takes its place, or nothing has changed.

    Raises:
        ConvertError: It cannot be written.
    """
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConvertError(f"{folder}: cannot be written: {error.strerror}", "name another folder") from error
    try:
        made = staging / "new"
        made.mkdir()
        yield made
        _replace(folder, made, staging / "old")
    except OSError as error:
        raise ConvertError(
            f"{folder}: cannot be written: {error.strerror}", "make room, or name another"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(folder: Path, made: Path, old: Path) -> None:
    if not folder.exists():
        made.rename(folder)
        return
    folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
