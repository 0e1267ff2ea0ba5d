"""Firmware from a bundle: sizes, what does not fit, what is missing, and that nothing is built twice."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from cutlayer_boards.build import build_firmware
from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER


@pytest.fixture
def bundle_of_arena(tiny_bundle, tmp_path):
    """The tiny bundle, its head's arena blown up to so many bytes."""

    def make(arena_bytes: int):
        bundle = tmp_path / f"arena-{arena_bytes}"
        shutil.copytree(tiny_bundle, bundle)
        for header in (bundle / "firmware").rglob("cutlayer_model.h"):
            text, count = re.subn(r"(_ARENA_BYTES) \d+u", rf"\1 {arena_bytes}u", header.read_text())
            assert count == 1
            header.write_text(text)
        return bundle

    return make


def test_sections_are_those_of_the_linker_map(qemu, build, tiny_bundle):
    firmware = build(qemu, tiny_bundle)
    assert firmware.sections[".stack"] == qemu.stack_bytes
    assert firmware.ram_bytes_static == sum(
        firmware.sections.get(name, 0) for name in (".stack", ".data", ".bss")
    )
    in_flash = (".vectors", ".text", ".rodata", ".ARM.exidx", ".data")
    assert firmware.flash_bytes == sum(firmware.sections.get(name, 0) for name in in_flash)
    assert 12_000 < firmware.ram_bytes_static < 64_000
    assert 10_000 < firmware.flash_bytes < 64_000


def test_firmware_needs_no_stdio_and_no_heap(qemu, build, tiny_bundle):
    symbols = subprocess.run(
        ["arm-none-eabi-nm", "--defined-only", build(qemu, tiny_bundle).path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.split()[-1] for line in symbols.splitlines()}
    assert "cl_node_step" in names
    assert not names & {"printf", "fprintf", "malloc", "_malloc_r", "free", "_sbrk", "abort"}


def test_built_once_and_again_when_the_head_changes(qemu, build, tiny_bundle, bundle_of_arena):
    first = build(qemu, tiny_bundle)
    built = first.path.stat()
    again = build(qemu, tiny_bundle)
    assert (again, again.path.stat().st_mtime_ns) == (first, built.st_mtime_ns)
    other = build(qemu, bundle_of_arena(50_000))
    assert other.path != first.path
    assert other.ram_bytes_static > first.ram_bytes_static + 40_000


def test_too_much_ram_is_a_link_error(qemu, bundle_of_arena):
    with pytest.raises(BoardError, match=r"does not fit qemu_mps2_an386 \(262144 bytes of RAM"):
        build_firmware(qemu, bundle_of_arena(250_000))


def test_missing_bundle_is_said(qemu, tmp_path):
    with pytest.raises(BoardError, match="is not a bundle"):
        build_firmware(qemu, tmp_path)


def test_c_that_does_not_compile_is_shown(qemu, tiny_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    for source in (bundle / "firmware").rglob("cutlayer_model.c"):
        source.write_text(source.read_text() + "int broken(void) { return nothing; }\n")
    with pytest.raises(BoardError, match=r"does not build:(.|\n)*nothing.* undeclared"):
        build_firmware(qemu, bundle)


def test_missing_compiler_is_said_with_its_package(qemu, bundle_of_arena, monkeypatch, tmp_path):
    """With a PATH that has the native compiler alone."""
    for name in ("gcc", "g++", "as", "ld", "sh", "ar", "ranlib", "git", "uname"):
        if found := shutil.which(name):
            (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoardError, match="compiler for qemu_mps2_an386 is missing") as raised:
        build_firmware(qemu, bundle_of_arena(40_000))
    assert "gcc-arm-none-eabi" in raised.value.hint


def test_sanitizers_are_for_the_native_board(qemu, tiny_bundle):
    with pytest.raises(BoardError, match="no sanitizers"):
        build_firmware(qemu, tiny_bundle, sanitize=True)


def test_main_is_the_same_for_every_port_and_short():
    assert len((PROJECT_FOLDER / "firmware" / "src" / "main.c").read_text().splitlines()) < 60
