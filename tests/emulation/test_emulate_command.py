"""`cutlayer emulate`, as a program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys

import pytest

from cutlayer_boards.keys import Keys
from cutlayer_host.host_messages import Configure
from cutlayer_host.opening import connect

CUTLAYER = [sys.executable, "-c", "import sys; from cutlayer_host.cli import main; sys.exit(main())"]


@contextlib.asynccontextmanager
async def command(*arguments: str):
    process = await asyncio.create_subprocess_exec(
        *CUTLAYER,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_boards_stay_until_interrupted(any_board, build, tiny_bundle, tiny_microphone):
    build(any_board, tiny_bundle)
    arguments = ("--board", any_board.name, "-n", "2", "--bundle", str(tiny_bundle), "--json")
    async with command("emulate", *arguments, "--microphone", str(tiny_microphone)) as process:
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        assert said["board"] == any_board.name
        assert len(said["urls"]) == 2
        for url in said["urls"]:
            key = None if any_board.insecure else Keys.default().find
            async with connect(url, key=key) as device:
                assert device.welcome.board == any_board.name
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 130


async def test_boards_keep_what_they_learn_in_a_folder(native, build, tiny_bundle, tmp_path):
    build(native, tiny_bundle)
    arguments = ("-n", "2", "--bundle", str(tiny_bundle), "--storage", str(tmp_path / "kept"), "--json")
    for run in (0, 5):
        async with command("emulate", *arguments) as process:
            said = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            async with connect(said["urls"][1], key=Keys.default().find) as device:
                assert device.welcome.run == run
                await device.configure(Configure(restart=True, cut=2, run=5))
                await device.save(0)
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), 20)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "native-0.storage",
        "native-1.storage",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--storage", "/dev/null/none"], "error: the folder /dev/null/none cannot be made"),
        (["--board", "esp33"], "error: there is no board 'esp33'"),
        (["--bundle", "/nowhere"], "error: /nowhere is not a bundle"),
    ],
)
async def test_errors_say_what_to_do_next(arguments, said):
    async with command("emulate", *arguments) as process:
        _, stderr = await process.communicate()
    assert process.returncode == 1
    assert said in stderr.decode()
    assert "next: " in stderr.decode()
