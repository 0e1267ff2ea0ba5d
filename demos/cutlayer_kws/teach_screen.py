"""What `cutlayer teach` shows: a screen that changes, lines where there is no terminal, or JSON."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from cutlayer_boards.console import console, print_json
from cutlayer_kws.teach import Heard, Learned, Listening, NothingHeard, Saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from cutlayer_kws.teach import Event

BAR_WIDTH = 24
_EVENT_NAMES: dict[type[Event], str] = {
    Listening: "listening",
    NothingHeard: "nothing_heard",
    Heard: "heard",
    Learned: "learned",
    Saved: "saved",
}


@contextlib.contextmanager
def screen(*, as_json: bool) -> Iterator[Callable[[Event], None]]:
    """Gives what events are told to."""
    if as_json:
        yield lambda event: print_json({"event": _EVENT_NAMES[type(event)], **asdict(event)})
    elif not console().is_terminal:
        yield lambda event: console().print(describe(event), highlight=False)
    else:
        from rich.live import Live

        shown = Screen()
        with Live(shown.render(), console=console(), refresh_per_second=10) as live:

            def tell(event: Event) -> None:
                shown.take(event)
                live.update(shown.render(), refresh=True)

            yield tell


def describe(event: Event) -> str:
    """An event in a line."""
    match event:
        case Listening():
            return f"{event.number}/{event.of}  say: {event.word}"
        case NothingHeard():
            return f"nothing heard within {event.seconds:.0f} s"
        case Heard():
            guesses = ", ".join(f"{guess.word} {guess.probability:.0%}" for guess in event.guesses)
            return f"heard {guesses}; right in {event.accuracy:.0%} of the last words"
        case Learned():
            return f"step {event.step}: loss {event.loss:.3f}"
        case Saved():
            sums = f"{event.correct} of {event.words} words right, {event.steps} steps"
            return f"{sums}; saved in {event.folder}\n{event.note}"


class Screen:
    """What is on the screen now."""

    def __init__(self) -> None:
        self._prompt = "starting TensorFlow"
        self._progress = ""
        self._heard: Heard | None = None
        self._learned = ""
        self._saved = ""
        self._words: dict[str, list[bool]] = {}

    def take(self, event: Event) -> None:
        """Lets the next `render` show an event."""
        match event:
            case Listening():
                self._prompt = f"say [bold cyan]{event.word}[/]"
                self._progress = f"{event.number} of {event.of}"
            case NothingHeard():
                self._prompt = f"[yellow]{describe(event)}[/]"
            case Heard():
                self._heard = event
                self._prompt = "learning"
                self._words.setdefault(event.word, []).append(event.correct)
            case Learned():
                self._learned = describe(event)
            case Saved():
                self._prompt, self._saved = "", describe(event)

    def render(self) -> RenderableType:
        """Prompt, what was heard last with bars, and how each word does so far."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = []
        if self._prompt:
            parts += [Text.from_markup(f"{self._progress}  {self._prompt}"), Text()]
        if self._heard is not None:
            parts += [_bars(self._heard), Text()]
        if self._words:
            table = Table("word", "said", "right", "last ten", box=None)
            for word, right in sorted(self._words.items()):
                last = "".join("+" if one else "-" for one in right[-10:])
                table.add_row(word, str(len(right)), str(sum(right)), last)
            parts += [table, Text(self._learned)]
        if self._saved:
            parts.append(Text(self._saved))
        return Group(*parts)


def _bars(heard: Heard) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    for guess in heard.guesses:
        style = "green" if guess.word == heard.word else "red"
        bar = ProgressBar(
            total=1.0,
            completed=guess.probability,
            width=BAR_WIDTH,
            complete_style=style,
            finished_style=style,
        )
        table.add_row(guess.word, bar, f"{guess.probability:.0%}")
    return table
