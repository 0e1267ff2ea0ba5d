"""`make fuzz`: all fuzz targets for a long time, on both cores; prints one JSON object.

Each target begins with the corpus kept in tests; what it finds beyond goes to build/fuzz/corpus, and with
--keep the smallest of it into tests again. What broke is in build/fuzz/findings, one file an input: run it
alone with `fuzz_campaign.py --only TARGET --input FILE`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core import ROOT
from fuzz_program import TARGETS, Ran, Target, build, run, unpack_corpus, write_corpus

CORPUS = ROOT / "build" / "fuzz" / "corpus"
KEPT_BYTES = 16_000  # of a target's corpus, at most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=int, default=600, help="for all targets together")
    how_long.add_argument("--runs", type=int, help="inputs for the C targets; those in Python get 1/25 of it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="targets whose name holds this, such as c/link")
    parser.add_argument("--input", type=Path, help="run this one input")
    parser.add_argument("--keep", action="store_true", help="keep what was learned in tests")
    asked = parser.parse_args()
    targets = [target for target in TARGETS if asked.only in target.name]
    if not targets:
        parser.error(f"--only {asked.only}: there are {', '.join(target.name for target in TARGETS)}")
    if asked.input:
        ran = run(targets[0], asked.input)
        print(ran.finding or "nothing broke")
        return int(ran.finding is not None)
    began = time.monotonic()
    build()
    seconds = max(asked.seconds * asked.jobs // len(targets), 1)

    def fuzzed(target: Target) -> Ran:
        runs = f"-runs={int(asked.runs * target.share) + 1}" if asked.runs else f"-max_total_time={seconds}"
        return _fuzz(target, runs)

    with ThreadPoolExecutor(asked.jobs) as pool:
        results = dict(zip(targets, pool.map(fuzzed, targets), strict=True))
    if asked.keep:
        for target in targets:
            _keep(target)
    print(json.dumps(_summary(results, time.monotonic() - began), indent=2))
    return int(any(ran.finding for ran in results.values()))


def _fuzz(target: Target, limit: str) -> Ran:
    unpack_corpus(target, CORPUS / target.name)
    ran = run(target, CORPUS / target.name, limit)
    state = "BROKEN" if ran.finding else "no finding"
    print(f"{target.name:20} {ran.inputs:12,d} inputs  {state}", file=sys.stderr, flush=True)
    if ran.finding:
        print(ran.finding, file=sys.stderr, flush=True)
    return ran


def _keep(target: Target) -> None:
    """Keeps the smallest of what covers something."""
    merged = CORPUS / target.name
    if target.language == "c":  # atheris cannot merge
        merged = CORPUS / f"{target.name}.merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        run(target, merged, "-merge=1", str(CORPUS / target.name))
    kept, room = [], KEPT_BYTES
    for item in sorted((path.read_bytes() for path in merged.iterdir()), key=len):
        if 2 + len(item) <= room:
            room -= 2 + len(item)
            kept.append(item)
    write_corpus(target, kept)


def _summary(results: dict[Target, Ran], seconds: float) -> dict[str, object]:
    languages = sorted({target.language for target in results})
    return {
        "seconds": round(seconds, 1),
        "inputs": {
            language: sum(ran.inputs for target, ran in results.items() if target.language == language)
            for language in languages
        },
        "targets": {target.name: ran.inputs for target, ran in results.items()},
        "findings": [target.name for target, ran in results.items() if ran.finding],
    }


if __name__ == "__main__":
    sys.exit(main())
