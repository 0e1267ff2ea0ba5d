"""`cutlayer teach` as somebody at the desk has it: espeak-ng says to the microphone what is asked for."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from desk import CUTLAYER, Speaker, at_the_desk
from tapped_board import tapped
from terminal import Terminal
from word_bundle import word_bundle

from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.keys import Keys
from cutlayer_boards.spec import board
from cutlayer_host.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from desk import Event

WORDS = ["yes", "no"]
ROUNDS = 10


@pytest.fixture(scope="module")
def bundle() -> Path:
    return word_bundle()


@pytest.fixture(scope="module")
def firmware(bundle: Path):
    return build_firmware(board("native"), bundle)


def of(kind: str, events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def mean_loss(events: list[Event]) -> float:
    return float(np.mean([event["loss"] for event in events]))


@pytest.mark.slow
async def test_a_board_learns_what_it_hears_and_no_sound_crosses(bundle, tmp_path):
    speaker = Speaker(tmp_path / "live.pcm", seed=1)
    out = tmp_path / "out"
    plain = await asyncio.to_thread(build_firmware, board("native"), bundle, insecure=True)
    async with emulate(board("native"), plain, live=speaker.microphone) as node, tapped(node.url) as tap:
        arguments = [
            *WORDS,
            "--device",
            tap.url,
            "--insecure",
            "--bundle",
            str(bundle),
            "--rounds",
            str(ROUNDS),
            "--learning-rate",
            "0.01",
        ]
        events, code, stderr = await at_the_desk([*arguments, "--out", str(out)], speaker)
    assert code == 0
    assert stderr.startswith("WARNING: --insecure")
    heard, learned = of("heard", events), of("learned", events)
    assert sorted(event["word"] for event in heard) == sorted(WORDS * ROUNDS)
    assert [event["step"] for event in learned] == list(range(1, len(WORDS) * ROUNDS // 2 + 1))
    third = len(heard) // 3
    assert mean_loss(heard[-third:]) < 0.8 * mean_loss(heard[:third])
    assert np.mean([event["correct"] for event in heard[-third:]]) >= 0.75
    for event in heard:
        chances = [guess["probability"] for guess in event["guesses"]]
        assert all(before >= after for before, after in pairwise(chances))
        assert event["correct"] == (event["guesses"][0]["word"] == event["word"])
    [saved] = of("saved", events)
    assert events[-1] == saved
    assert saved["words"] == len(heard)
    assert Store(out).run().steps == len(learned)
    tap.assert_never_carried(speaker.said)


@pytest.mark.slow
async def test_ctrl_c_stops_and_saves_and_resume_goes_on(bundle, firmware, tmp_path):
    speaker = Speaker(tmp_path / "live.pcm", seed=2)
    out = tmp_path / "out"
    spec = board("native")
    async with emulate(spec, firmware, live=speaker.microphone) as node:
        Keys.default().add(node.device)
        arguments = [*WORDS, "--device", node.url, "--bundle", str(bundle), "--out", str(out)]
        events, code, stderr = await at_the_desk(arguments, speaker, stop_after=5)
        assert (code, stderr) == (0, "")
        assert len(of("heard", events)) == 5  # the fifth was half a step: it is not learned
        assert of("stopping", events)
        assert (of("saved", events)[0]["steps"], of("saved", events)[0]["not_learned"]) == (2, 1)
        [saved] = of("saved", events)
        assert (Store(out).run().checkpoint, saved["words"]) == (2, 5)

        events, code, stderr = await at_the_desk([*arguments, "--resume", "--rounds", "1"], speaker)
        assert (code, stderr) == (0, "")
        assert events[0] == {"event": "resumed", "step": 2, "words": 5, "correct": saved["correct"]}
        assert [event["step"] for event in of("learned", events)] == [3]
        assert of("saved", events)[0]["words"] == 7
        assert Store(out).run().steps == 3
    async with emulate(spec, firmware, live=speaker.microphone) as node:
        Keys.default().add(node.device)
        arguments[arguments.index("--device") + 1] = node.url
        events, code, stderr = await at_the_desk([*arguments, "--resume", "--rounds", "1"], speaker)
        # This board has no storage: both sides begin again.
        assert events[0] == {"event": "resumed", "step": 0, "words": 0, "correct": 0}
        assert [event["step"] for event in of("learned", events)] == [1]


@pytest.mark.slow
async def test_a_word_that_nobody_says_is_asked_for_again(bundle, firmware, tmp_path):
    speaker = Speaker(tmp_path / "live.pcm", seed=3)
    asked: list[str] = []

    def only_the_second_time(word: str) -> str | None:
        asked.append(word)
        return word if len(asked) > 1 else None

    async with emulate(board("native"), firmware, live=speaker.microphone) as node:
        Keys.default().add(node.device)
        arguments = ["yes", "--device", node.url, "--bundle", str(bundle), "--out", str(tmp_path / "out")]
        events, code, _ = await at_the_desk(
            [*arguments, "--rounds", "1"], speaker, word_for=only_the_second_time
        )
    assert code == 0
    assert [event["event"] for event in events] == [
        "listening",
        "nothing_heard",
        "listening",
        "heard",
        "learned",
        "saved",
    ]
    assert 9 < events[1]["seconds"] < 15


@pytest.mark.slow
@pytest.mark.qemu
async def test_a_person_at_a_terminal_sees_what_to_do_and_how_it_goes(bundle, tmp_path):
    speaker = Speaker(tmp_path / "live.pcm", seed=4)
    spec = board("qemu_mps2_an386")
    firmware = await asyncio.to_thread(build_firmware, spec, bundle)
    async with emulate(spec, firmware, live=speaker.microphone) as node:
        Keys.default().add(node.device)
        command = [*CUTLAYER, "teach", *WORDS, "--device", node.url, "--bundle", str(bundle)]
        command += ["--out", str(tmp_path / "out")]
        async with Terminal(command) as terminal:
            for number in range(1, 4):
                prompt = await terminal.shows(rf"say (yes|no) +{number} of 20; Ctrl-C stops and saves")
                say = partial(speaker.say, prompt[1])
                say()
                await terminal.shows(rf"so far \d of {number} words right", again=say)
                verdict = await terminal.shows(
                    rf"asked for {prompt[1]}, taken for (yes|no|stop)\n\1 +\S+ +(\d+)%"
                )
                assert int(verdict[2]) >= 33
            await terminal.shows(r"step 1: loss \d\.\d+")
            await terminal.shows(r"word +said +right +last ten\n +no +[12] +[012] +[+-]+\n +yes +[12]")
            assert not terminal.screen.cursor_shown
            terminal.type("\x03")
            assert await terminal.ends() == 0
            assert terminal.screen.cursor_shown
            assert re.search(r"of 3 words right, steps made: 1; saved in", str(terminal.screen))
            assert "last 1 heard" in str(terminal.screen)
            assert "to go on: the same command with --resume" in str(terminal.screen)
        async with Terminal([*command, "--resume"]) as terminal:
            await terminal.shows(r"say \w+ +1 of 20.*\ngoing on after step 1; so far \d of 3 words right")
        code = 0
        for _ in range(5):  # what the first Ctrl-C began may end before the second one comes
            async with Terminal([*command, "--resume"]) as terminal:
                await terminal.shows("starting TensorFlow")
                terminal.type("\x03")
                await terminal.shows("stopping and saving; Ctrl-C again leaves at once")
                terminal.type("\x03")
                code = await terminal.ends()
                assert terminal.screen.cursor_shown
            if code != 0:
                break
        assert code == 130
        assert "interrupted" in str(terminal.screen)


@cache
def refused(*arguments: str) -> str:
    command = [sys.executable, "-c", "import sys; from cutlayer_host.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "teach", *arguments], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "\nnext: " in done.stderr
    return done.stderr


def test_unknown_words_are_named_with_the_known(bundle):
    said = refused("yes", "maybe", "--bundle", str(bundle), "--device", "unix:///nowhere")
    assert "no word 'maybe'" in said
    assert "it knows yes, no, stop" in said


def test_without_a_bundle_it_says_where_one_comes_from(tmp_path):
    assert "no bundle there" in refused("yes", "--bundle", str(tmp_path))


async def test_a_board_without_a_live_microphone_is_refused(bundle, firmware, tmp_path):
    async with emulate(board("native"), firmware) as node:
        Keys.default().add(node.device)
        arguments = ("yes", "--bundle", str(bundle), "--device", node.url, "--out", str(tmp_path / "out"))
        said = await asyncio.to_thread(refused, *arguments)
    assert "has no live microphone" in said
    assert not (tmp_path / "out").exists()
