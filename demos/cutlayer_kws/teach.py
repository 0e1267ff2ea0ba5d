"""Teaching on the desk: the host asks for a word, somebody says it to the board, and both sides learn.

A label needs no button: it is the word that was asked for. The board keeps no sound, so that each word is
learned when it comes; a mini-batch is the last few of them. What happens is told as events:

Resumed       it goes on where the folder's last lesson ended
Listening     the board listens for a word
NothingHeard  nobody spoke; the same word is asked for again
Heard         what head and tail took it for, before they learned it
Learned       a step was made, on both sides
Stopping      somebody has had enough
Saved         the tail and what came of it are on disk
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from cutlayer_host.codes import LIVE_RECORDING, Flag, SensorCode
from cutlayer_host.errors import DeviceError
from cutlayer_host.settings import TrainSettings, Visit
from cutlayer_host.store import Store
from cutlayer_host.tail import Tail, TailSettings
from cutlayer_host.trainer import Trainer
from cutlayer_kws.errors import TeachError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cutlayer_converter.bundle import Manifest
    from cutlayer_host.device import Device
    from cutlayer_host.run import Run
    from cutlayer_host.smashed_data import SmashedData
    from cutlayer_host.worker import TailWorker

ATTEMPTS = 3
"""How often a word is asked for before nobody seems to be there."""

GUESSES = 3
RECENT = 20
GO_ON = "to go on: the same command with --resume; if you switch the board off, "
IN_MEMORY = "it forgets what it learned, and the lesson begins again"
IN_STORAGE = "it goes on from what it saved last"

CHECKPOINT_EVERY = 10
"""Steps, of some words each, after which both sides make a step durable."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What there is so far, all lessons of the folder together."""

    step: int
    words: int
    correct: int


@dataclass(frozen=True, slots=True)
class Listening:
    """The board listens for `word`, the `number`-th of `of`."""

    word: str
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class NothingHeard:
    """Nobody said `word` for so many seconds."""

    word: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A word and its probability."""

    word: str
    probability: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What `word` was taken for: the likeliest first. `accuracy` is that of the last 20 words."""

    word: str
    guesses: tuple[Guess, ...]
    correct: bool
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Learned:
    """A step: the mean loss of its samples, before it."""

    step: int
    samples: int
    loss: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """The lesson ends now, and is saved."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of it, all lessons of the folder together.

    The last `not_learned` words of this lesson were part of a step that was not made.
    """

    folder: str
    steps: int
    words: int
    correct: int
    not_learned: int
    note: str


Event = Resumed | Listening | NothingHeard | Heard | Learned | Stopping | Saved


@dataclass(frozen=True, slots=True)
class TeachSettings:
    """What to teach.

    Attributes:
        words: Classes of the network; a round asks for each of them once, in random order.
        rounds: Of this lesson.
        seed: Of the order and of the gradient's rounding.
        resume: Go on with the folder's lesson, on a board that has not been switched off.
        batch_size: Words a step.
        learning_rate: Of the tail and of the board's layer.
    """

    words: tuple[str, ...]
    rounds: int = 10
    seed: int = 0
    resume: bool = False
    batch_size: int = 2
    learning_rate: float = 3e-3


class Stopped(Exception):
    """Somebody has had enough; the step in hand was made on neither side."""


class Teacher(Trainer):
    """A trainer whose samples somebody says."""

    def __init__(
        self,
        device: Device,
        tail: Tail,
        worker: TailWorker,
        settings: TrainSettings,
        class_names: Sequence[str],
        tell: Callable[[Event], None],
        stopping: asyncio.Event,
        run: Run,
    ) -> None:
        super().__init__(device, tail, worker, settings, ledger=run)
        self.heard: list[bool] = []
        self.learned = 0
        self.wanted = 0
        self._class_names = class_names
        self._tell = tell
        self._stopping = stopping

    async def take(self, visit: Visit, *, train: bool) -> SmashedData:
        """Asks for a word until it is heard.

        Raises:
            TeachError: nobody says it.
            Stopped: `stopping` is set.
        """
        assert visit.label is not None
        word = self._class_names[visit.label]
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            self._tell(Listening(word, len(self.heard) + 1, self.wanted))
            smashed = await self._listen(visit, train)
            if smashed is not None:
                await self._judge(visit.label, smashed)
                return smashed
            self._tell(NothingHeard(word, round(time.monotonic() - began, 1)))
        raise TeachError(
            f"heard nothing for {time.monotonic() - began:.0f} s, {ATTEMPTS} times in a row",
            "speak, or check the microphone; then go on with --resume",
        )

    async def _listen(self, visit: Visit, train: bool) -> SmashedData | None:
        """One second with a word in it; None when the board has heard nothing."""
        asked = asyncio.create_task(super().take(visit, train=train))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({asked, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                raise Stopped
            return await asked
        except DeviceError as error:
            if error.detail != SensorCode.NOTHING_HEARD % 2**32:
                raise
            return None
        finally:
            asked.cancel()
            stopping.cancel()
            await asyncio.gather(asked, stopping, return_exceptions=True)

    async def _judge(self, label: int, smashed: SmashedData) -> None:
        probabilities = await self._worker.run(
            self.tail.predict, smashed.values, smashed.scale, smashed.zero_point
        )
        likeliest = np.argsort(-probabilities, kind="stable")[:GUESSES]
        self.heard.append(int(likeliest[0]) == label)
        recent = self.heard[-RECENT:]
        self._tell(
            Heard(
                word=self._class_names[label],
                guesses=tuple(Guess(self._class_names[i], float(probabilities[i])) for i in likeliest),
                correct=self.heard[-1],
                loss=float(-np.log(max(probabilities[label], 1e-7))),
                accuracy=sum(recent) / len(recent),
            )
        )


def labels_of(words: Sequence[str], manifest: Manifest) -> list[int]:
    """The classes of words.

    Raises:
        TeachError: the network does not know one of them.
    """
    known = list(manifest.class_names or ())
    for word in words:
        if word not in known:
            raise TeachError(
                f"the network has no word {word!r}", f"it knows {', '.join(known) or 'no words by name'}"
            )
    return [known.index(word) for word in dict.fromkeys(words)]


def visits(labels: Sequence[int], rounds: int, seed: int) -> Iterator[Visit]:
    """Each word once a round, in an order of its own."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        yield from (Visit(LIVE_RECORDING, int(label)) for label in random.permutation(labels))


async def teach(
    device: Device,
    bundle: Path,
    manifest: Manifest,
    folder: Path,
    worker: TailWorker,
    settings: TeachSettings,
    tell: Callable[[Event], None],
    stopping: asyncio.Event,
) -> Saved:
    """Teaches until all rounds are done or `stopping` is set, and saves; also when an error ends it.

    Raises:
        TeachError: no live microphone, an unknown word, nobody speaks, or a board that cannot go on.
        StoreError, BundleMismatch, HostError: as in any training.
    """
    device.require_model(manifest.model_id, bundle)
    if not device.welcome.flags & Flag.LIVE_SENSOR:
        raise TeachError(
            f"{device.url}: the board {device.welcome.board} has no live microphone",
            "an emulated board hears a file that grows: cutlayer emulate --microphone-live FILE",
        )
    labels = labels_of(settings.words, manifest)
    store = Store(folder)
    asked = {"bundle": str(bundle), **asdict(settings)}
    with store.resume() if settings.resume else store.begin(device.welcome, device.url, bundle, asked) as run:
        if settings.resume:
            _check_same(store, manifest)
        tail = await worker.run(Tail.load, bundle / "tail.keras", TailSettings(seed=settings.seed))
        train_settings = TrainSettings(
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            checkpoint_every=CHECKPOINT_EVERY,
            seed=settings.seed,
        )
        names = manifest.class_names or ()
        teacher = Teacher(device, tail, worker, train_settings, names, tell, stopping, run)
        teacher.wanted = settings.rounds * len(labels)
        await teacher.start()
        begin = {"words": 0, "correct": 0, **run.measured()}
        words, correct = int(begin["words"]), int(begin["correct"])
        if settings.resume:
            tell(Resumed(teacher.last_step, words, correct))
        try:
            await _learn(
                teacher, visits(labels, settings.rounds, settings.seed + teacher.last_step), run, tell
            )
        finally:
            await teacher.keep()
            words, correct = words + len(teacher.heard), correct + sum(teacher.heard)
            await worker.run(run.measure, teacher.last_step, {"words": words, "correct": correct})
            saved = Saved(
                folder=str(folder),
                steps=teacher.last_step,
                words=words,
                correct=correct,
                not_learned=len(teacher.heard) - teacher.learned,
                note=GO_ON + (IN_STORAGE if device.welcome.flags & Flag.STORAGE else IN_MEMORY),
            )
            tell(saved)
    return saved


async def _learn(teacher: Teacher, words: Iterator[Visit], run: Run, tell: Callable[[Event], None]) -> None:
    try:
        async for done in teacher.steps(words):
            run.record(done)
            teacher.learned += done.samples
            tell(Learned(done.step, done.samples, done.loss))
    except Stopped:
        return


def _check_same(store: Store, manifest: Manifest) -> None:
    """A lesson goes on with the network that it began with."""
    begun = store.run().model_id
    if begun != manifest.model_id:
        raise TeachError(
            f"the lesson was with model {begun[:12]}, the bundle is model {manifest.model_id[:12]}",
            "name the lesson's bundle with --bundle, or a new folder with --out",
        )
