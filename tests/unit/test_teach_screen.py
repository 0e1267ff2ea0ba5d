"""What `cutlayer teach` has on the screen after each event."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cutlayer_kws.teach import (
    Guess,
    Heard,
    Learned,
    Listening,
    NothingHeard,
    Resumed,
    Saved,
    Stopping,
)
from cutlayer_kws.teach_screen import Screen, describe

NOTHING = "heard nothing for 10 s: speak, or check the microphone"


def shown(screen: Screen) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(screen.render())
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def heard(word: str, taken_for: str, accuracy: float = 0.5) -> Heard:
    guesses = tuple(Guess(name, p) for name, p in ((taken_for, 0.7), ("[other]", 0.3)))
    return Heard(word, guesses, word == taken_for, loss=0.5, accuracy=accuracy)


def test_that_nothing_was_heard_stays_until_something_is() -> None:
    """The same word is asked for again at once."""
    screen = Screen()
    screen.take(Listening("yes", 1, 4))
    assert NOTHING not in shown(screen)
    screen.take(NothingHeard("yes", 10.0))
    screen.take(Listening("yes", 1, 4))
    assert NOTHING in shown(screen)
    assert "say yes   1 of 4" in shown(screen)
    screen.take(heard("yes", "yes"))
    screen.take(Listening("no", 2, 4))
    assert NOTHING not in shown(screen)


def test_what_was_heard_stays_while_the_next_word_is_asked_for() -> None:
    screen = Screen()
    for event in (heard("yes", "no"), Learned(1, 1, 0.5), Listening("no", 2, 4)):
        screen.take(event)
    text = shown(screen)
    assert "say no" in text
    assert "asked for yes, taken for no" in text
    assert "70%" in text
    assert "[other]" in text  # a word is no markup
    assert "step 1: loss 0.500" in text


def test_accuracy_goes_on_where_the_lesson_before_ended() -> None:
    screen = Screen()
    screen.take(Resumed(step=3, words=7, correct=5))
    assert "going on after step 3; so far 5 of 7 words right" in shown(screen)
    screen.take(heard("yes", "yes"))
    screen.take(heard("no", "yes"))
    assert "so far 6 of 9 words right\n" in shown(screen).replace(" \n", "\n")
    for _ in range(20):
        screen.take(heard("yes", "yes", accuracy=0.95))
    assert "so far 26 of 29 words right; 95% of the last 20" in shown(screen)


@pytest.mark.parametrize(("not_learned", "told"), [(0, False), (1, True)])
def test_the_end_says_what_came_of_it_and_how_to_go_on(not_learned: int, told: bool) -> None:
    screen = Screen()
    screen.take(Listening("yes", 1, 4))
    screen.take(Stopping())
    assert "Ctrl-C again leaves at once" in shown(screen)
    saved = Saved(
        "build/teach",
        steps=2,
        words=5,
        correct=3,
        not_learned=not_learned,
        note="the same command with --resume",
    )
    screen.take(saved)
    text = shown(screen)
    assert "say yes" not in text
    assert "3 of 5 words right, steps made: 2; saved in build/teach" in text
    assert ("last 1 heard" in text) == told
    assert "the same command with --resume" in describe(saved)
