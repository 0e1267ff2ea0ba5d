"""Third-party C outside PlatformIO: the same sources, by the same hashes."""

from __future__ import annotations

import pytest

from cutlayer_boards import third_party
from cutlayer_boards.errors import BoardError
from cutlayer_boards.spec import PROJECT_FOLDER


def test_monocypher_is_the_hosts_and_pinned() -> None:
    script = (PROJECT_FOLDER / "firmware" / "scripts" / "third_party.py").read_text()
    assert 'package="pymonocypher",\n    version="4.0.3.4"' in script
    assert "5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a" in script
    assert '"pymonocypher==4.0.3.4"' in (PROJECT_FOLDER / "pyproject.toml").read_text()


def test_monocypher_is_compiled_once() -> None:
    assert (third_party.monocypher() / "monocypher.h").is_file()
    built = third_party.monocypher_object("gcc", "-fPIC")
    before = built.stat().st_mtime_ns
    assert third_party.monocypher_object("gcc", "-fPIC") == built
    assert built.stat().st_mtime_ns == before


def test_a_missing_compiler_is_said() -> None:
    with pytest.raises(BoardError, match="there is no C compiler"):
        third_party.monocypher_object("no-such-compiler")


def test_a_failed_fetch_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "MONOCYPHER = None\nclass FetchError(Exception): pass\n"
        "def ensure(source, folder): raise FetchError('cannot be had\\nnext: look')\n"
    )
    monkeypatch.setattr(third_party, "_SCRIPT", script)
    with pytest.raises(BoardError, match="cannot be had") as caught:
        third_party.monocypher()
    assert caught.value.hint == "look"
