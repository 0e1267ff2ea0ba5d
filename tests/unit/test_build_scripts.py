"""PlatformIO's pre-scripts, run with a fake build environment."""

from __future__ import annotations

import hashlib
import io
import json
import runpy
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutlayer_boards.spec import PROJECT_FOLDER
from cutlayer_converter import sensor

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTS = PROJECT_FOLDER / "firmware" / "scripts"


class FakeExit(Exception):
    pass


class FakeEnv:
    """What the scripts ask of a SCons environment."""

    def __init__(self, project: Path) -> None:
        self.variables = {"$PROJECT_DIR": str(project), "$BUILD_DIR": str(project / "build/pio/build/native")}
        self.appended: dict[str, list[str]] = {}
        self.built: list[tuple[str, str]] = []
        self.options: dict[str, str] = {}

    def subst(self, text: str) -> str:
        return self.variables[text]

    def GetProjectOption(self, name: str, default: str) -> str:  # noqa: N802
        return self.options.get(name, default)

    def Append(self, **values: list[str]) -> None:  # noqa: N802 - SCons names it so
        for name, value in values.items():
            self.appended.setdefault(name, []).extend(value)

    def BuildSources(self, variant: str, folder: str) -> None:  # noqa: N802
        self.built.append((variant, folder))

    def Exit(self, code: int) -> None:  # noqa: N802
        raise FakeExit(code)


def script(name: str) -> Any:
    return SimpleNamespace(**runpy.run_path(str(SCRIPTS / name), run_name="script"))


@pytest.fixture
def bundle_script() -> Any:
    return script("bundle.py")


@pytest.fixture
def third_party() -> Any:
    return script("third_party.py")


def make_bundle(folder: Path, given: dict[str, Any] | None = None) -> Path:
    (folder / "firmware").mkdir(parents=True)
    (folder / "firmware" / "cutlayer_model.c").write_text("const int cutlayer_model = 1;\n")
    (folder / "manifest.json").write_text(json.dumps({"input": given or {"shape": [4, 4, 1]}}))
    return folder


@pytest.mark.parametrize("named", [None, "elsewhere"])
def test_missing_bundle_is_said_with_the_command_that_makes_one(
    bundle_script, tmp_path, capsys, named
) -> None:
    with pytest.raises(FakeExit):
        bundle_script.main(FakeEnv(tmp_path), {"CUTLAYER_BUNDLE": named} if named else {})
    said = capsys.readouterr().err
    assert said.startswith(f"error: no bundle in {'CUTLAYER_BUNDLE=elsewhere' if named else 'build/bundle'}")
    assert "next: cutlayer convert MODEL.keras --cut LAYER" in said


def test_bundle_is_named_by_the_environment_or_lies_in_build(bundle_script, tmp_path) -> None:
    usual, other = make_bundle(tmp_path / "build" / "bundle"), make_bundle(tmp_path / "other")
    assert bundle_script.bundle_folder(tmp_path, {}) == usual
    assert bundle_script.bundle_folder(tmp_path, {"CUTLAYER_BUNDLE": str(other)}) == other
    assert bundle_script.bundle_folder(tmp_path, {"CUTLAYER_BUNDLE": "other"}) == other


AUDIO = {"shape": [49, 40, 1], "scale": 1 / 128, "zero_point": -128}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (AUDIO, "audio"),
        ({**AUDIO, "shape": [49, 40, 2]}, "recorded"),
        ({**AUDIO, "scale": 1 / 127}, "recorded"),
        ({**AUDIO, "zero_point": 0}, "recorded"),
    ],
)
def test_sensor_goes_by_the_heads_input(bundle_script, tmp_path, given, expected) -> None:
    bundle = make_bundle(tmp_path / "bundle", given)
    assert bundle_script.sensor(bundle, {}) == expected
    assert bundle_script.sensor(bundle, {"CUTLAYER_SENSOR": "recorded"}) == "recorded"
    with pytest.raises(bundle_script.BundleError, match="CUTLAYER_SENSOR=nose"):
        bundle_script.sensor(bundle, {"CUTLAYER_SENSOR": "nose"})


def test_engine_picks_the_head(bundle_script, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    assert bundle_script.head_folder(bundle, "compiled") == bundle / "firmware"
    with pytest.raises(
        bundle_script.BundleError, match=r"no head for custom_engine = tflm.*\nnext: convert it"
    ):
        bundle_script.head_folder(bundle, "tflm")
    (bundle / "firmware" / "tflm").mkdir()
    (bundle / "firmware" / "tflm" / "cutlayer_model.c").write_text("const int cutlayer_model = 2;\n")
    (bundle / "firmware" / "tflm" / "cutlayer_engine.cc").write_text("const int cutlayer_engine = 2;\n")
    assert bundle_script.head_folder(bundle, "tflm") == bundle / "firmware" / "tflm"
    fast = bundle / "firmware" / "armv7e-m"
    fast.mkdir()
    assert bundle_script.head_folder(bundle, "compiled", "armv7e-m") == bundle / "firmware"
    (fast / "cutlayer_model.c").write_text("const int cutlayer_model = 3;\n")
    assert bundle_script.head_folder(bundle, "compiled", "armv7e-m") == fast
    assert bundle_script.head_folder(bundle, "compiled", "portable") == bundle / "firmware"
    bundle_script.copy_sources(bundle / "firmware" / "tflm", tmp_path / "sources")
    assert (tmp_path / "sources" / "cutlayer_engine.cc").is_file()
    bundle_script.copy_sources(bundle / "firmware", tmp_path / "sources")
    assert [path.name for path in (tmp_path / "sources").iterdir()] == ["cutlayer_model.c"]
    with pytest.raises(bundle_script.BundleError, match="custom_engine = onnx is not one of compiled, tflm"):
        bundle_script.head_folder(bundle, "onnx")


def test_engine_bytes(bundle_script) -> None:
    assert bundle_script.engine_bytes("") == []
    assert bundle_script.engine_bytes("20480") == ["CUTLAYER_ENGINE_BYTES=20480u"]
    for wrong in ("0", "100", "20 KB"):
        with pytest.raises(bundle_script.BundleError, match=f"custom_engine_bytes = {wrong}"):
            bundle_script.engine_bytes(wrong)


def test_sources_are_copied_only_when_they_differ(bundle_script, tmp_path) -> None:
    bundle, folder = make_bundle(tmp_path / "bundle"), tmp_path / "sources"
    folder.mkdir()
    (folder / "left_over.c").write_text("of an earlier bundle")
    bundle_script.copy_sources(bundle / "firmware", folder)
    copied = folder / "cutlayer_model.c"
    assert [path.name for path in folder.iterdir()] == ["cutlayer_model.c"]
    before = copied.stat()
    bundle_script.copy_sources(bundle / "firmware", folder)
    assert copied.stat().st_ino == before.st_ino
    (bundle / "firmware" / "cutlayer_model.c").write_text("const int cutlayer_model = 2;\n")
    bundle_script.copy_sources(bundle / "firmware", folder)
    assert copied.read_text() == "const int cutlayer_model = 2;\n"


def test_the_converter_has_the_same_rule_for_the_sensor(bundle_script) -> None:
    assert list(sensor.SOUND_SHAPE) == bundle_script.AUDIO_SHAPE
    assert bundle_script.AUDIO_SCALE == sensor.SOUND_SCALE
    assert bundle_script.AUDIO_ZERO_POINT == sensor.SOUND_ZERO_POINT


def test_header_says_memory_and_sensor(bundle_script) -> None:
    header = bundle_script.build_header(4711, "audio", insecure=False)
    assert b"#define CUTLAYER_NODE_BYTES 4711\n" in header
    assert b"#define CUTLAYER_SENSOR_AUDIO 1\n" in header
    assert b"#define CUTLAYER_INSECURE 0\n" in header
    header = bundle_script.build_header(4711, "recorded", insecure=True)
    assert b"#define CUTLAYER_SENSOR_AUDIO 0\n" in header
    assert b"#define CUTLAYER_INSECURE 1\n" in header


def archive(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return output.getvalue()


@pytest.fixture
def source(third_party) -> Any:
    content = archive(
        {
            "thing-1.0/LICENSE": b"licence",
            "thing-1.0/lib/a.cc": b"a",
            "thing-1.0/lib/deep/b.h": b"b",
            "thing-1.0/setup.py": b"not wanted",
            "thing-1.0/lib/../../../escaped": b"no",
        }
    )
    return SimpleNamespace(
        content=content,
        value=third_party.Source(
            library="thing",
            package="thing",
            version="1.0",
            sha256=hashlib.sha256(content).hexdigest(),
            wanted=("LICENSE", "lib/"),
            manifest={"name": "thing"},
        ),
    )


def give(third_party: Any, monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    """Has pip bring `content`; the list grows by each download."""
    downloads: list[str] = []

    def download(source: Any, folder: Path) -> Path:
        downloads.append(source.package)
        path = folder / "thing-1.0.tar.gz"
        path.write_bytes(content)
        return path

    monkeypatch.setitem(third_party.ensure.__globals__, "download", download)
    return downloads


def test_third_party_source_is_unpacked_once(third_party, source, monkeypatch, tmp_path) -> None:
    downloads = give(third_party, monkeypatch, source.content)
    folder = tmp_path / "build" / "third_party"
    library = third_party.ensure(source.value, folder)
    assert third_party.ensure(source.value, folder) == library
    assert downloads == ["thing"]
    names = sorted(str(path.relative_to(library)) for path in library.rglob("*") if path.is_file())
    assert names == [".sha256", "LICENSE", "lib/a.cc", "lib/deep/b.h", "library.json"]
    assert json.loads((library / "library.json").read_text()) == {"name": "thing"}
    assert not list(tmp_path.rglob("escaped"))


def test_third_party_source_with_another_hash_is_refused(third_party, source, monkeypatch, tmp_path) -> None:
    give(third_party, monkeypatch, archive({"thing-1.0/lib/a.cc": b"changed"}))
    folder = tmp_path / "build" / "third_party"
    with pytest.raises(third_party.FetchError, match="not the file we know"):
        third_party.ensure(source.value, folder)
    assert not list(folder.iterdir())


def test_failed_download_is_said(third_party, source, tmp_path, monkeypatch) -> None:
    failed = SimpleNamespace(returncode=1, stdout="", stderr="ERROR: no such thing")
    monkeypatch.setattr(third_party.download.__globals__["subprocess"], "run", lambda *_, **__: failed)
    with pytest.raises(
        third_party.FetchError, match=r"thing 1\.0 cannot be had.*\n.*next: .*pip download thing==1\.0"
    ):
        third_party.ensure(source.value, tmp_path / "third_party")


def test_microfrontend_is_pinned(third_party) -> None:
    known = third_party.MICROFRONTEND
    assert (known.package, known.version) == ("pymicro-features", "2.0.2")
    assert known.sha256 == "0d0bed7843ec78b6ced82d1a2dcddeb4fe5df61b3af80a281d0868c8e279c727"


def test_firmware_has_baud_rate_and_ring_of_the_boards_json(bundle_script) -> None:
    given = {"cutlayer.baud": 500_000, "cutlayer.receive_bytes": 1024, "cutlayer.max_payload": 128}
    assert bundle_script.line(given) == ["CUTLAYER_BAUD=500000u"]
    assert bundle_script.link_limits(given) == ["CL_NODE_MAX_PAYLOAD=128u", "CL_NODE_RECEIVE_BYTES=1024u"]
    assert bundle_script.line({}) == bundle_script.link_limits({}) == []


def test_firmware_has_the_limits_of_a_host_from_the_boards_json(bundle_script) -> None:
    given = {"cutlayer.gradient_norm_max": 2.5, "cutlayer.learning_rate_max": 1, "cutlayer.step_ms": 20}
    expected = ["CL_GRADIENT_NORM_MAX=2.500000f", "CL_LEARNING_RATE_MAX=1.000000f", "CL_NODE_STEP_MS=20u"]
    assert bundle_script.host_limits(given) == expected
    assert bundle_script.host_limits({}) == []
    for wrong in (0, -1, float("nan")):
        with pytest.raises(bundle_script.BundleError, match="must be above 0"):
            bundle_script.host_limits({"cutlayer.learning_rate_max": wrong})


def test_boards_of_hardware_alone_limit_the_rate_of_steps() -> None:
    for path in (SCRIPTS.parents[1] / "boards").glob("*.json"):
        board = json.loads(path.read_text())["cutlayer"]
        assert ("emulator" in board) == ("step_ms" not in board), path.name
