"""The STM32F4 port where the emulated board's tests do not look: USART1, no debugger, a chip's own clock."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from core import FLAGS, INCLUDE, ROOT
from cortex_program import PORT, build_program, qemu_command

from cutlayer_boards.spec import board

if TYPE_CHECKING:
    from pathlib import Path

HERE = ROOT / "tests" / "emulation"
USARTS = (1, 2)


@pytest.mark.qemu
@pytest.mark.parametrize("usart", USARTS)
async def test_without_a_debugger_the_link_works(usart: int, tmp_path: Path) -> None:
    spec = board("netduinoplus2")
    sources = [HERE / "echo_program.c", *(PORT / "cortex_m").glob("*.c")]
    defines = [f"-DSTM32F4_USART={usart}", '-DCUTLAYER_BOARD="echo"']
    program = build_program(spec, tmp_path, sources, platform="", flags=defines)
    command = [*qemu_command(spec), *["-serial", "null"] * (usart - 1), "-serial", "stdio"]
    process = await asyncio.create_subprocess_exec(
        *command, "-kernel", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert await asyncio.wait_for(process.stdout.readexactly(5), 20) == b"ready"
        for sent in (b"one", bytes(range(256)) * 8):
            process.stdin.write(sent)
            assert await asyncio.wait_for(process.stdout.readexactly(len(sent)), 20) == sent
        assert process.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


# RM0090: alternate function 7 on the pins of each USART, a pull-up on both; 500,000 Bd of 16 MHz; the enable
# bits of GPIOA, TIM2 and the USART; what else GPIOA has after reset stays.
EXPECTED = {
    1: {"interrupt": "37", "mode": "a8280000", "pull": "64140000", "alternate": "0 770", "enabled": "1 1 10"},
    2: {
        "interrupt": "38",
        "mode": "a80000a0",
        "pull": "64000050",
        "alternate": "7700 0",
        "enabled": "1 20001 0",
    },
}
ALWAYS = {
    "ticks": "16000",
    "systicks": "16000",
    "semihosting": "0",
    "prescaler": "0",
    "counts": "1",
    "divider": "32",
    "control": "202c",
}


@pytest.mark.parametrize("usart", USARTS)
def test_registers_on_a_chip(usart: int, tmp_path: Path) -> None:
    program = tmp_path / "program"
    flags = [flag for flag in FLAGS if flag != "-fPIC"]
    command = ["gcc", *flags, "-no-pie", "-Wno-int-to-pointer-cast", f"-DSTM32F4_USART={usart}"]
    command += [f"-I{INCLUDE}", f"-I{PORT}", "-o", str(program), str(HERE / "registers_program.c")]
    subprocess.run(command, check=True)
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    said = dict(line.split(" ", 1) for line in text.splitlines())
    assert said == EXPECTED[usart] | ALWAYS
