"""What `cutlayer teach` shows: a screen that changes, lines where there is no terminal, or JSON."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from cutlayer_boards.console import console, print_json
from cutlayer_kws.teach import (
    RECENT,
    Heard,
    Learned,
    Listening,
    NothingHeard,
    Resumed,
    Saved,
    Stopping,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from cutlayer_kws.teach import Event

BAR_WIDTH = 24
HINT = "Ctrl-C stops and saves"
_EVENT_NAMES: dict[type[Event], str] = {
    Resumed: "resumed",
    Listening: "listening",
    NothingHeard: "nothing_heard",
    Heard: "heard",
    Learned: "learned",
    Stopping: "stopping",
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
        case Resumed():
            return f"going on after step {event.step}; so far {_share(event.correct, event.words)}"
        case Listening():
            return f"{event.number}/{event.of}  say: {event.word}"
        case NothingHeard():
            return f"heard nothing for {event.seconds:.0f} s: speak, or check the microphone"
        case Heard():
            guesses = ", ".join(f"{guess.word} {guess.probability:.0%}" for guess in event.guesses)
            return f"heard {guesses}; right in {event.accuracy:.0%} of the last words"
        case Learned():
            return f"step {event.step}: loss {event.loss:.3f}"
        case Stopping():
            return "stopping and saving; Ctrl-C again leaves at once, and what is not saved is lost"
        case Saved():
            lines = (
                f"{_share(event.correct, event.words)}, steps made: {event.steps}; saved in {event.folder}"
            )
            if event.not_learned:
                lines += f"\nnot learned, because their step was not complete: last {event.not_learned} heard"
            return f"{lines}\n{event.note}"


def _share(correct: int, words: int) -> str:
    return f"{correct} of {words} words right"


class Screen:
    """What is on the screen now."""

    def __init__(self) -> None:
        from rich.spinner import Spinner
        from rich.text import Text

        self._waiting = Spinner("line")  # moves, so that a person sees that it listens
        self._prompt = Text("connecting, and starting TensorFlow")
        self._notice = Text()
        self._heard: Heard | None = None
        self._learned = ""
        self._saved = ""
        self._before = (0, 0)
        self._words: dict[str, list[bool]] = {}

    def take(self, event: Event) -> None:
        """Lets the next `render` show an event."""
        from rich.text import Text

        match event:
            case Resumed():
                self._notice = Text(describe(event))
                self._before = event.correct, event.words
            case Listening():
                place = f"   {event.number} of {event.of}; {HINT}"
                self._prompt = Text.assemble("say ", (event.word, "bold cyan"), (place, "dim"))
            case NothingHeard():
                self._notice = Text(describe(event), "yellow")
            case Heard():
                self._heard = event
                self._prompt, self._notice = Text("learning"), Text()
                self._words.setdefault(event.word, []).append(event.correct)
            case Learned():
                self._learned = describe(event)
            case Stopping():
                self._prompt, self._notice = Text(describe(event)), Text()
            case Saved():
                self._prompt, self._notice, self._saved = Text(), Text(), describe(event)

    def render(self) -> RenderableType:
        """Prompt, what was heard last with bars, and how well it goes: in all, and word by word."""
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = []
        if self._prompt:
            self._waiting.update(text=self._prompt)
            parts += [self._waiting, self._notice]
        if self._heard is not None:
            parts += [_verdict(self._heard), _bars(self._heard), Text()]
            parts += [Text(self._so_far(self._heard)), Text(self._learned), _table(self._words), Text()]
        if self._saved:
            parts.append(Text(self._saved))
        return Group(*parts)

    def _so_far(self, heard: Heard) -> str:
        said = [one for right in self._words.values() for one in right]
        correct, words = self._before[0] + sum(said), self._before[1] + len(said)
        recent = f"; {heard.accuracy:.0%} of the last {RECENT}" if len(said) > RECENT else ""
        return f"so far {_share(correct, words)}{recent}"


def _verdict(heard: Heard) -> RenderableType:
    from rich.text import Text

    taken_for = (heard.guesses[0].word, "green" if heard.correct else "red")
    return Text.assemble(f"asked for {heard.word}, taken for ", taken_for)


def _bars(heard: Heard) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

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
        table.add_row(Text(guess.word), bar, f"{guess.probability:.0%}")
    return table


def _table(words: dict[str, list[bool]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("word", "said", "right", "last ten", box=None)
    for word, right in sorted(words.items()):
        last = "".join("+" if one else "-" for one in right[-10:])
        table.add_row(Text(word), str(len(right)), str(sum(right)), last)
    return table
