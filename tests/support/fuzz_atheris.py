"""Runs one Python fuzz target under atheris: fuzz_atheris.py TARGET [libFuzzer's arguments]."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["cutlayer_host", "cutlayer_boards", "cutlayer_converter"]):
    from fuzz_files import FILE_TARGETS
    from fuzz_targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], (TARGETS | FILE_TARGETS)[sys.argv[1]])
    atheris.Fuzz()
