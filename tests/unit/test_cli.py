"""The command line: what it lists, how fast it answers, how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest

from cutlayer_boards.errors import CutlayerError
from cutlayer_host import cli
from cutlayer_host.cli import cutlayer, main
from cutlayer_host.errors import LinkLost

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ["bench", "convert", "devices", "emulate", "run", "serve", "train"]


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
    assert "..." not in listed.partition("Commands:")[2]


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["bench", "host"], ["bench", "link"]]
)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    """What makes help slow are imports; time itself says little on a shared machine."""
    script = (
        "import sys; from cutlayer_host.cli import main\n"
        f"code = main({[*command, '--help']})\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'rich', 'serialx'} & set(sys.modules)\n"
        "sys.exit(code or (' '.join(sorted(heavy)) or 0))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage: cutlayer" in result.stdout


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cutlayer_host.cli", "--help"], check=True, capture_output=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.5


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
    assert main(["devices", "unix:///nowhere", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["devices"]
    assert "cannot connect" in found["error"]
    assert main(["devices", "unix:///nowhere"]) == 0
    assert "unix" in capsys.readouterr().err


def test_the_hosts_own_time_of_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "host", "--steps", "100", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["smashed_bytes"] == 8192
    assert 0 < cost["host_median_ms"] <= 2.0
