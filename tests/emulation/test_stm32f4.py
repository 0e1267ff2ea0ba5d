"""The STM32F4 port where test_every_board.py does not look: USART1, no debugger, a chip's clock and flash."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from core import ROOT
from cortex_program import PORT, build_program, qemu_command, run_on_registers
from emulation_host import configure_adam

from cutlayer_boards.emulator import _qemu, emulate
from cutlayer_boards.recordings import flash_image
from cutlayer_boards.spec import board
from cutlayer_host.opening import connect

if TYPE_CHECKING:
    from pathlib import Path

HERE = ROOT / "tests" / "emulation"
USARTS = (1, 2)


@pytest.mark.qemu
@pytest.mark.parametrize("usart", USARTS)
async def test_without_a_debugger_the_link_works(usart: int, tmp_path: Path) -> None:
    spec = board("netduinoplus2")
    core = PORT.parent / "lib" / "cutlayer" / "src"
    sources = [HERE / "echo_program.c", *(PORT / "cortex_m").glob("*.c"), *core.rglob("*.c")]
    defines = [f"-DSTM32F4_USART={usart}", '-DCUTLAYER_BOARD="echo"', f"-DCUTLAYER_BAUD={spec.baud}"]
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


@pytest.mark.qemu
async def test_recordings_in_flash_are_those_of_a_file(
    build, tiny_bundle, tiny_inputs, tiny_microphone, tmp_path
) -> None:
    """The Discovery's firmware, in the machine that QEMU has of the family."""
    discovery, emulated = board("stm32f4_discovery"), board("netduinoplus2")
    image = tmp_path / "recordings"
    image.write_bytes(flash_image(tiny_microphone, discovery))
    firmware = build(discovery, tiny_bundle)
    command = [*qemu_command(emulated), "-kernel", str(firmware.path)]
    command += ["-semihosting-config", "enable=on,target=native,arg=firmware"]
    command += ["-device", f"loader,file={image},addr={discovery.recordings_origin:#x}"]
    flashed = await heard(_qemu(command, emulated.serial, tmp_path / "link"), "stm32f4_discover")
    file = await heard(emulate(emulated, build(emulated, tiny_bundle), tiny_microphone), emulated.name)
    assert flashed == file
    assert len({values for _, values in flashed}) == len(tiny_inputs)
    assert {label for label, _ in flashed} > {-1, 0, 1}


async def heard(running, name: str) -> list[tuple[int, bytes]]:
    """Label and smashed data of each recording."""
    async with running as node, connect(node.url, key=node.key) as device:
        assert device.welcome.board == name
        await device.configure(configure_adam(cut=2))
        samples = [await device.sample(i, i, train=False) for i in range(device.welcome.recordings)]
    return [(sample.label, sample.values.tobytes()) for sample in samples]


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
    flags = [f"-DSTM32F4_USART={usart}", f"-DCUTLAYER_BAUD={board('stm32f4_discovery').baud}"]
    lines = run_on_registers(HERE / "stm32f4_registers.c", tmp_path, *flags)
    said = dict(line.split(" ", 1) for line in lines)
    assert said == EXPECTED[usart] | ALWAYS
