"""The nRF52840 port where Renode is not: what it writes to registers, and that it builds for its memory."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest
from core import ROOT, SOURCE
from cortex_program import run_on_registers
from elftools.elf.elffile import ELFFile

from cutlayer_boards.spec import board

if TYPE_CHECKING:
    from pathlib import Path

# Nordic's nRF52840 product specification 1.7, by address.
OPENED = {
    "40000000": "1",  # CLOCK TASKS_HFCLKSTART
    "40002000": "1",  # UART TASKS_STARTRX
    "40002008": "1",  # TASKS_STARTTX
    "40002304": "4",  # INTENSET: RXDRDY
    "40002500": "4",  # ENABLE: the UART without EasyDMA
    "4000250c": "6",  # PSEL.TXD: P0.06
    "40002514": "8",  # PSEL.RXD: P0.08
    "40002524": "ebed000",  # BAUDRATE: 921,600
    "40008000": "1",  # TIMER0 TASKS_START
    "40008044": "1",  # TASKS_CAPTURE[1]
    "40008304": "20000",  # INTENSET: COMPARE[1]
    "40008508": "3",  # BITMODE: 32
    "40008544": "3e80",  # CC[1]: a ms later
    "50000508": "40",  # P0 OUTSET
    "50000518": "40",  # DIRSET
    "50000720": "c",  # PIN_CNF[8]: input, pulled up
}
# What differs on the micro:bit. A clock that never shows that it runs is QEMU's.
MICROBIT = OPENED | {
    "4000250c": "18",  # PSELTXD: P0.24
    "40002514": "19",  # PSELRXD: P0.25
    "40002524": "1d7e000",  # BAUDRATE: 115,200
    "50000508": "1000000",  # GPIO OUTSET
    "50000518": "1000000",  # DIRSET
    "50000764": "c",  # PIN_CNF[25]: input, pulled up
}
MICROBIT.pop("50000720")
RAN = [
    *("idle 1 sent a event 0", "busy 0 sent a event 0", "done 1 sent a event 0"),
    *("received 120", "event 0"),
    *("early 5", "alarm 16005 event 0"),
    "now 77",
]


@pytest.mark.parametrize(
    ("name", "flags", "semihosting", "expected"),
    [("nrf52840dk", [], 0, OPENED), ("microbit", ["-DNRF51822"], 1, MICROBIT)],
)
def test_registers(name: str, flags: list[str], semihosting: int, expected: object, tmp_path: Path) -> None:
    source = ROOT / "tests" / "emulation" / "nrf52840_registers.c"
    lines = run_on_registers(source, tmp_path, f"-DCUTLAYER_BAUD={board(name).baud}", *flags)
    assert lines[:4] == ["interrupt 8", "interrupt 2", "ticks 16000", "systicks 64000"]
    assert lines[4] == f"semihosting {semihosting}"
    opened, ran = lines[5 : -len(RAN)], lines[-len(RAN) :]
    assert dict(line.split(" ") for line in opened) == expected
    assert ran == RAN


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the fake flash steps through x86's instructions")
def test_slots_in_flash(tmp_path: Path) -> None:
    spec = board("nrf52840dk")
    region = (
        f"-DCORTEX_M_STORAGE_ORIGIN={spec.storage_origin}u",
        f"-DCORTEX_M_STORAGE_BYTES={spec.storage_bytes}u",
    )
    sources = [f"-I{SOURCE}", str(SOURCE / "slots.c"), str(SOURCE / "frame.c")]
    lines = run_on_registers(ROOT / "tests" / "emulation" / "nrf52840_storage.c", tmp_path, *region, *sources)
    assert lines == [
        "new opened 0 slot -13 holds 0 0",
        "key in 0",
        *("state in 0", "state in 1", "state in 0"),
        "key opened 0 slot 0 holds 7 7",
        "state opened 0 slot 0 holds 3 3",
        "erased 7 violations 0 mode 0",
        "beyond -128 -128 -128",
        "unaligned -128 -128",
        "again -128",  # what is not erased cannot become it, and that is said
        "erased 7 violations 0 mode 0",
    ]


@pytest.mark.qemu
def test_vectors_are_where_the_chip_starts(build, tiny_bundle) -> None:
    spec = board("nrf52840dk")
    with build(spec, tiny_bundle).path.open("rb") as file:
        elf = ELFFile(file)
        vectors = elf.get_section_by_name(".vectors")
        symbols = {
            symbol.name: symbol["st_value"] for symbol in elf.get_section_by_name(".symtab").iter_symbols()
        }
        assert vectors["sh_addr"] == 0
        stack, reset = (int.from_bytes(vectors.data()[at : at + 4], "little") for at in (0, 4))
    assert stack == symbols["stack_top"] == 0x20000000 + spec.stack_bytes
    assert reset == symbols["reset_handler"] | 1
