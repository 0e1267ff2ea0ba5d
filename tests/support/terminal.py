"""A terminal for tests: a command in a pty, and what a person sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS, ROWS = 80, 24
_PIECE = re.compile(r"\x1b\[(?P<arguments>[?0-9;]*)(?P<command>[A-Za-z])|\x1b.?|[^\x1b]", re.DOTALL)


class Screen:
    """What is on the screen, of the few control sequences that rich writes; others are an error."""

    def __init__(self) -> None:
        self.lines = [""]
        self.cursor_shown = True
        self._row = self._column = 0
        self._rest = ""

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines[-ROWS:])

    def feed(self, text: str) -> None:
        """Takes what was written; the end of a sequence may come later."""
        text = self._rest + text
        self._rest = ""
        if begun := re.search(r"\x1b(\[[?0-9;]*)?\Z", text):
            text, self._rest = text[: begun.start()], text[begun.start() :]
        for piece in _PIECE.finditer(text):
            if piece["command"]:
                self._control(piece["arguments"], piece["command"])
            else:
                self._character(piece[0])

    def _control(self, arguments: str, command: str) -> None:
        if command == "A":
            self._row = max(self._row - int(arguments or 1), 0)
        elif (arguments, command) == ("2", "K"):
            self.lines[self._row] = ""
        elif arguments == "?25":
            self.cursor_shown = command == "h"
        elif command != "m":
            raise ValueError(f"a control sequence that this terminal does not know: {arguments}{command}")

    def _character(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row, self._column = self._row + 1, 0
            self.lines += [""] * (self._row + 1 - len(self.lines))
        elif character.isprintable():
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1
        else:
            raise ValueError(f"a character that this terminal does not know: {character!r}")


class Terminal:
    """A command whose stdin, stdout and stderr are a terminal of 80 x 24."""

    def __init__(self, command: list[str]) -> None:
        self.screen = Screen()
        self._command = command

    async def __aenter__(self) -> Self:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)},
            preexec_fn=_take_terminal,
        )
        os.close(follower)
        os.set_blocking(self._leader, False)
        asyncio.get_running_loop().add_reader(self._leader, self._read)
        return self

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._leader)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        os.close(self._leader)

    def type(self, keys: str) -> None:
        """Types keys; "\\x03" is Ctrl-C."""
        os.write(self._leader, keys.encode())

    async def shows(self, pattern: str, *, again: Callable[[], None] = lambda: None) -> re.Match[str]:
        """Waits until the screen matches; calls `again` every few seconds until then."""
        for turn in range(1, 2000):
            if match := re.search(pattern, str(self.screen)):
                return match
            await asyncio.sleep(0.05)
            if turn % 100 == 0:
                again()
        raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen}")

    async def ends(self) -> int:
        """Waits for the end. Returns the exit code; the screen is complete."""
        code = await self._process.wait()
        self._read()
        return code

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                while data := os.read(self._leader, 65536):
                    self.screen.feed(data.decode())
            except OSError as error:  # EIO: nobody has the other end any more
                if isinstance(error, BlockingIOError):
                    raise
                asyncio.get_running_loop().remove_reader(self._leader)


def _take_terminal() -> None:
    """In the child: makes its stdin the terminal that Ctrl-C is typed at."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
