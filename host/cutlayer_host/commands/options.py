"""The options of training, which train, serve and run share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cutlayer_host.errors import StoreError
from cutlayer_host.optimizer import OptimizerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutlayer_host.guard import KeyFinder
    from cutlayer_host.settings import TrainSettings
    from cutlayer_host.store import RunSummary
    from cutlayer_host.tail import TailSettings

F = TypeVar("F", bound="Callable[..., Any]")

CODECS = {"int8": 0, "int4": 1, "int2": 2}
ZERO_SUPPRESSED = 16
LAST_RUN = 0


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What the command line says of training; see each option's help."""

    samples: int
    hold_out: int
    labels: Path | None
    batch_size: int
    optimizer: str
    learning_rate: float
    board_learning_rate: float | None
    momentum: float
    activations: str
    gradients: str
    zero_suppressed: bool
    freeze_head: bool
    keep_weights: bool
    checkpoint_every: int
    seed: int
    patience: float

    def asked(self) -> dict[str, Any]:
        """As JSON, for a store."""
        return {**asdict(self), "labels": None if self.labels is None else str(self.labels.resolve())}

    @classmethod
    def of(cls, run: RunSummary, store: Path) -> TrainOptions:
        """What a run was begun with.

        Raises:
            StoreError: it was not begun by `cutlayer train`, or its row is damaged.
        """
        asked = dict(run.asked)
        for option in fields(cls):
            value = asked.pop(option.name, ...)
            if not isinstance(value, _JSON_TYPES[str(option.type)]):
                asked[option.name] = value
        if asked:
            raise StoreError(
                f"{store}: run {run.number} has not the options of a training: {', '.join(asked)}",
                "go on with it by the command that began it, or begin a new run",
            )
        labels = run.asked["labels"]
        return cls(**{**run.asked, "labels": None if labels is None else Path(labels)})

    @property
    def optimizer_settings(self) -> OptimizerSettings:
        """Of the tail and of the board's layer."""
        return OptimizerSettings("adam" if self.optimizer == "adam" else "sgd", momentum=self.momentum)

    def train_settings(self) -> TrainSettings:
        """For a Trainer."""
        from cutlayer_host.settings import TrainSettings

        return TrainSettings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            board_learning_rate=self.board_learning_rate,
            optimizer=self.optimizer_settings,
            update_head=not self.freeze_head,
            restart=not self.keep_weights,
            checkpoint_every=self.checkpoint_every,
            activation_codec=CODECS[self.activations] + ZERO_SUPPRESSED * self.zero_suppressed,
            gradient_codec=CODECS[self.gradients],
            seed=self.seed,
        )

    def tail_settings(self) -> TailSettings:
        """For a Tail."""
        from cutlayer_host.tail import TailSettings

        return TailSettings(optimizer=self.optimizer_settings, seed=self.seed)


# What JSON has for a field of that type.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, NoneType),
    "str": (str,),
    "bool": (bool,),
    "Path | None": (str, NoneType),
}

_OPTIONS = (
    click.option(
        "--samples",
        type=click.IntRange(1),
        metavar="N",
        default=1000,
        show_default=True,
        help="Sample visits.",
    ),
    click.option(
        "--hold-out",
        type=click.IntRange(0),
        metavar="N",
        default=0,
        show_default=True,
        help="Recordings at the end of the board's list that are not trained on, but measured at the end.",
    ),
    click.option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="One byte a recording: its class. Without it the board must know the labels.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 65535),
        metavar="N",
        default=8,
        show_default=True,
        help="Samples a step.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["adam", "sgd"]),
        default="adam",
        show_default=True,
        help="Of the tail and of the board's layer.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        metavar="RATE",
        default=1e-3,
        show_default=True,
        help="Of the tail, and of the board's layer too unless it has its own.",
    ),
    click.option(
        "--board-learning-rate",
        type=click.FloatRange(0, min_open=True),
        metavar="RATE",
        help="Of the board's layer.",
    ),
    click.option(
        "--momentum",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="SHARE",
        default=0.9,
        show_default=True,
        help="SGD's momentum, Adam's beta 1.",
    ),
    click.option(
        "--activations",
        type=click.Choice(list(CODECS)),
        default="int8",
        show_default=True,
        help="Bits of the smashed data on the wire.",
    ),
    click.option(
        "--gradients",
        type=click.Choice(list(CODECS)),
        default="int8",
        show_default=True,
        help="Bits of the gradient on the wire.",
    ),
    click.option(
        "--zero-suppressed",
        is_flag=True,
        help="Send only activations that are not zero, and a bitmap of them: pays after a ReLU.",
    ),
    click.option("--freeze-head", is_flag=True, help="Only the tail learns."),
    click.option(
        "--keep-weights", is_flag=True, help="Begin with the board's present weights, not the converted ones."
    ),
    click.option(
        "--checkpoint-every",
        type=click.IntRange(0),
        metavar="STEPS",
        default=50,
        show_default=True,
        help="Steps after which both sides make a step durable (wears the board's flash); 0: at the end.",
    ),
    click.option(
        "--patience",
        type=click.FloatRange(0),
        metavar="SECONDS",
        default=30.0,
        show_default=True,
        help="How long a board whose link was lost may take to come back.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        metavar="N",
        default=0,
        show_default=True,
        help="Of the samples' order and of the gradient's rounding.",
    ),
)


def train_options(command: F) -> F:
    """Adds the options of training; the command gets them by name, as `TrainOptions` has them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


baud_option = click.option(
    "--baud",
    type=click.IntRange(1),
    metavar="N",
    help="Of the serial port; by itself that of the board with the port's USB ids, or every board's in turn.",
)
insecure_option = click.option(
    "--insecure",
    is_flag=True,
    help="Connect in plain, to boards built without keys: others can read and change all that is sent.",
)
store_option = click.option(
    "--store",
    "store_folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("cutlayer-runs"),
    show_default=True,
    envvar="CUTLAYER_STORE",
    help="Where runs and checkpoints are kept.",
)
resume_option = click.option(
    "--resume",
    is_flag=False,
    flag_value=LAST_RUN,
    type=click.IntRange(LAST_RUN),
    metavar="[RUN]",
    help="Go on with a run, by default the last one that has not finished, with all it was begun with.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
bundle_option = click.option(
    "--bundle",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `cutlayer convert` wrote.",
)


def key_finder(*, insecure: bool) -> KeyFinder | None:
    """What seals a command's connections: the keys of this computer; or nothing, which is said loudly.

    Raises:
        KeyFileError: the file of keys cannot be used.
    """
    if insecure:
        click.echo(
            "WARNING: --insecure: connections are plain; others can read and change all of it", err=True
        )
        return None
    from cutlayer_boards.keys import Keys

    keys = Keys.default()
    keys.names()
    return keys.find
