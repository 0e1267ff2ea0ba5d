"""The command `cutlayer`. Subcommands are entry points of the group "cutlayer.commands", loaded when needed.

A subcommand is a click command whose module imports nothing heavy at its top. It raises `CutlayerError` for
whatever a user can meet; only this file prints errors and picks exit codes.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

import click

from cutlayer_boards.errors import CutlayerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


class EntryPointGroup(click.Group):
    """A group whose commands are the entry points of one group of this distribution."""

    def __init__(self, *arguments: Any, entry_point_group: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.entry_point_group = entry_point_group

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        registered = {point.name for point in importlib.metadata.entry_points(group=self.entry_point_group)}
        return sorted({*registered, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads the command of that name, None when there is none."""
        for point in importlib.metadata.entry_points(group=self.entry_point_group, name=cmd_name):
            command = point.load()
            if not isinstance(command, click.Command):
                raise TypeError(f"entry point {point.value} is not a click command")
            return command
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=EntryPointGroup,
    entry_point_group="cutlayer.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cutlayer", message="%(prog)s %(version)s")
def cutlayer() -> None:
    """Train and run one neural network across a microcontroller and a computer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; errors go to stderr with what to do next."""
    try:
        cutlayer.main(args=arguments, prog_name="cutlayer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except CutlayerError as error:
        _print_error(error)
        return EXIT_ERROR
    except BaseExceptionGroup as group:
        known = next(_cutlayer_errors(group), None)
        if known is None:
            raise
        _print_error(known)
        return EXIT_ERROR
    return 0


def _cutlayer_errors(group: BaseExceptionGroup[BaseException]) -> Iterator[CutlayerError]:
    for error in group.exceptions:
        if isinstance(error, CutlayerError):
            yield error
        elif isinstance(error, BaseExceptionGroup):
            yield from _cutlayer_errors(error)


def _print_error(error: CutlayerError) -> None:
    click.echo(f"error: {error}", err=True)
    if error.hint is not None:
        click.echo(f"next: {error.hint}", err=True)


if __name__ == "__main__":
    sys.exit(main())
