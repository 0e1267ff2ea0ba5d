"""The command line: what it lists, how fast it answers, how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from cutlayer_boards.errors import CutlayerError
from cutlayer_host import cli
from cutlayer_host.cli import cutlayer, main
from cutlayer_host.errors import LinkLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is, as the words that call it."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from paths(below, (*path, name))


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command | None = cutlayer
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return command


PATHS = list(paths(cutlayer))
every_command = pytest.mark.parametrize("path", PATHS, ids=[" ".join(path) or "cutlayer" for path in PATHS])


def test_the_commands_are_those_of_the_issue() -> None:
    assert {("convert",), ("train",), ("serve",), ("emulate",), ("devices",), ("run",)} < set(PATHS)
    assert {("demo", "kws"), ("bench", "all"), ("bench", "kws"), ("bench", "faults")} < set(PATHS)


@every_command
def test_help_says_what_a_command_does_and_what_its_options_are(path: tuple[str, ...]) -> None:
    command = find(path)
    assert command.help is not None
    first = command.help.split()[0]
    assert first[0].isupper()
    assert not first.endswith("s"), f"{first!r} is no imperative"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} has no help"


@pytest.mark.parametrize("path", [path for path in PATHS if isinstance(find(path), click.Group)])
def test_lists_of_commands_are_not_cut_off_at_80_columns(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*path, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert listed.strip()
    assert "..." not in listed


@every_command
def test_help_imports_nothing_heavy(path: tuple[str, ...]) -> None:
    script = (
        "import sys; from cutlayer_host.cli import main\n"
        f"code = main({[*path, '--help']})\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'rich', 'serialx', 'bleak'} & set(sys.modules)\n"
        "sys.exit(code or (' '.join(sorted(heavy)) or 0))"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage: cutlayer" in result.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "cutlayer 0.1.0\n"


def test_errors_say_what_to_do_next(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "--device", "nonsense", "--bundle", str(tmp_path)]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith(f"error: {tmp_path}: no bundle there")
    assert error[1].startswith("next: ")


def test_wrong_usage_is_another_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-command"]) == 2
    assert main(["train"]) == 2
    assert main(["serve", "--bundle", "."]) == 2
    assert "nobody to serve" in capsys.readouterr().err
    assert main(["train", "--device", "x", "--bundle", ".", "--learning-rate", "0"]) == 2
    assert "learning-rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (LinkLost("the link is lost", "plug it in"), 1, "error: the link is lost\nnext: plug it in\n"),
        (CutlayerError("plain"), 1, "error: plain\n"),
        (
            ExceptionGroup("g", [ExceptionGroup("h", [LinkLost("inner", "hint")])]),
            1,
            "error: inner\nnext: hint\n",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_every_error_is_printed_in_one_place(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def broken() -> None:
        raise raised

    monkeypatch.setitem(cutlayer.commands, "broken", broken)
    assert cli.main(["broken"]) == code
    assert capsys.readouterr().err == said


def test_our_own_faults_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ExceptionGroup("g", [ZeroDivisionError()])

    monkeypatch.setitem(cutlayer.commands, "broken", broken)
    with pytest.raises(ExceptionGroup):
        cli.main(["broken"])


def test_devices_that_do_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    url = "unix:///nowhere/" + "and/so/on/" * 12
    assert main(["devices", url, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["devices"]
    assert "cannot connect" in found["error"]
    assert main(["devices", url]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == url, "a URL is there to be copied whole"
    assert lines[1].startswith("  cannot connect")


def test_the_hosts_own_time_of_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    """It is measured; how much it is, `make bench` says: a loaded machine fails no test."""
    assert main(["bench", "host", "--steps", "100", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["smashed_bytes"] == 8192
    assert cost["host_median_ms"] > 0
