"""The interpreter's engine, with a stand-in for TFLM's library, against the compiled head."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from baseline import baseline
from cffi import FFI
from core import FLAGS, INCLUDE, ROOT, SOURCE, _declarations

from cutlayer_converter.arena import ArenaPlan, plan
from cutlayer_converter.emit import emit
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import Graph, read_graph
from cutlayer_converter.interpreter import RESOLVER, Interpreted, interpret
from cutlayer_converter.trainable import TrainableSpec, find_trainable
from cutlayer_converter.verify import Oracle
from cutlayer_host import tensors
from cutlayer_host.board_messages import Applied, Configured
from cutlayer_host.host_messages import Apply, Configure, Gradient, Hello, Sample
from cutlayer_host.message import Error, Message
from cutlayer_host.messages import decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAKE = ROOT / "tests" / "support" / "fake_tflm"
TFLM = ROOT / "firmware" / "lib" / "tflm"
INT8 = 9
# The least memory that Chirale_TensorFLowLite 2.0.0 opens with on an emulated Cortex-M4F, in steps of 16.
LEAST_BYTES = {
    "rnd_head1": 19_168,
    "rnd_head2": 20_544,
    "rnd_head3": 21_920,
    "rnd_head4": 23_280,
    "kws": 24_656,
    "resnet": 55_680,
    "vww": 101_600,
    "ad": 2_960,
}
ERROR_MEMORY, ERROR_VALUE = -2, -6


@dataclass(frozen=True, slots=True)
class Model:
    tflite: bytes
    graph: Graph
    plan: ArenaPlan
    trainable: TrainableSpec | None
    interpreted: Interpreted


@cache
def model(name: str) -> Model:
    tflite = baseline(name).tflite
    graph = read_graph(tflite)
    arena_plan = plan(graph, trainable_end=True)
    found = find_trainable(arena_plan, "sgd")
    trainable = found if isinstance(found, TrainableSpec) else None
    return Model(tflite, graph, arena_plan, trainable, interpret(tflite, graph, arena_plan, trainable))


def write_models(given: Model, folder: Path) -> dict[str, Path]:
    """C of the interpreted head, of the compiled one, and of the interpreter's part compiled."""
    part = read_graph(given.interpreted.tflite)
    folders = {name: folder / name for name in ("cutlayer", "compiled", "part")}
    for made in folders.values():
        made.mkdir()
    options: dict[str, Any] = {"model_id": bytes(32), "trainable": given.trainable}
    emit(given.graph, given.plan, out=folders["cutlayer"], interpreted=given.interpreted, **options)
    emit(given.graph, given.plan, out=folders["compiled"], **options)
    emit(part, plan(part), model_id=bytes(32), trainable=None, out=folders["part"])
    return folders


def compile_cpp(source: Path, include: Path, out: Path) -> Path:
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-fno-exceptions"]
    includes = [f"-I{folder}" for folder in (INCLUDE, TFLM / "include", FAKE, include)]
    subprocess.run(["g++", *flags, "-fno-rtti", *includes, "-c", source, "-o", out], check=True)
    return out


class Library:
    """The core with three models in it: interpreted, compiled, and what the stand-in runs."""

    def __init__(self, given: Model, folder: Path) -> None:
        folders = write_models(given, folder)
        objects = [
            compile_cpp(source, folders["cutlayer"], folder / f"{source.stem}.cc.o")
            for source in (
                folders["cutlayer"] / "cutlayer_engine.cc",
                TFLM / "src/interpreter.cc",
                FAKE / "fake.cc",
            )
        ]
        for name, made in folders.items():
            objects.append(folder / f"{name}.o")
            rename = [] if name == "cutlayer" else [f"-Dcutlayer_model={name}_model"]
            command = ["gcc", *FLAGS, *rename, f"-I{INCLUDE}", f"-I{made}", "-c", made / "cutlayer_model.c"]
            subprocess.run([*command, "-o", objects[-1]], check=True)
        core = [*sorted(SOURCE.glob("*.c")), *sorted((SOURCE / "kernels").glob("*.c"))]
        path = folder / "engine.so"
        command = ["gcc", *FLAGS, f"-I{INCLUDE}", f"-I{SOURCE}", "-shared", *core, *objects, "-o", path]
        subprocess.run([*command, "-lstdc++"], check=True)
        self.ffi = FFI()
        self.ffi.cdef(
            _declarations(["cutlayer/engine.h", "cutlayer/node.h"], [f"-I{INCLUDE}"])
            + "extern struct cl_model cutlayer_model, compiled_model;"
            + "uint32_t cl_session_smashed(struct cl_session *, uint32_t, const int8_t **);"
            + "struct FakeTflm { int invoke; int type; uint32_t ops, ops_fail, invocations; };"
            + "extern struct FakeTflm fake_tflm;"
        )
        self.lib = self.ffi.dlopen(str(path))
        self.given = given

    def reset(self) -> Library:
        """The stand-in answers as a library does that can run everything."""
        fake = self.lib.fake_tflm
        fake.invoke, fake.type, fake.ops, fake.ops_fail, fake.invocations = 0, INT8, 0, 100, 0
        return self

    def head(self, name: str = "cutlayer") -> Any:
        return self.ffi.addressof(getattr(self.lib, f"{name}_model"), "head")

    def arena(self, name: str = "cutlayer") -> Any:
        """Aligned to 16."""
        block = self.ffi.new("int8_t[]", self.head(name).arena_bytes + 16)
        self.keep = block
        return block + (-int(self.ffi.cast("uintptr_t", block)) % 16)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Library]:
    return cache(lambda name: Library(model(name), tmp_path_factory.mktemp(name)))


@pytest.fixture(params=["rnd_head1", "ad", "kws"])
def library(request: pytest.FixtureRequest, libraries: Callable[[str], Library]) -> Library:
    return libraries(request.param).reset()


@pytest.fixture
def conv_library(libraries: Callable[[str], Library]) -> Library:
    return libraries("rnd_head1").reset()


def test_a_sensor_leaves_an_interpreter_its_memory(conv_library: Library) -> None:
    """Which keeps its state there from one sample to the next; a compiled head keeps nothing."""
    interpreted, compiled = conv_library.head("cutlayer"), conv_library.head("compiled")
    assert interpreted.sensor_offset == interpreted.arena_bytes
    assert compiled.sensor_offset < compiled.arena_bytes


def smashed(core: Library | Board, output: Callable[[int, Any], int], head: Any) -> bytes:
    """The deepest cut's smashed data: `output` sets where it is, and returns how many elements lie there."""
    total = core.lib.cl_shape_count(head.cuts[head.cut_count - 1].shape)
    place, found = core.ffi.new("int8_t **"), b""
    while len(found) < total:
        count = output(len(found), place)
        assert count > 0
        found += bytes(core.ffi.buffer(place[0], count))
    return found


class Board:
    """A session without a link."""

    def __init__(self, library: Library, name: str) -> None:
        self.ffi, self.lib = library.ffi, library.lib
        self.model = self.ffi.addressof(getattr(self.lib, f"{name}_model"))
        self.arena = library.arena(name)
        self._keep = library.keep
        layer = self.model.trainable
        size = self.lib.cl_train_bytes(layer, 0)
        self.memory = self.ffi.new("uint64_t[]", size // 8 + 1)
        config = {"model": self.model, "board": self.ffi.new("char[]", b"test"), "recording_count": 9}
        config |= {"arena": self.arena, "train_memory": self.memory, "train_bytes": size}
        self.config = self.ffi.new("struct cl_session_config *", config)
        self.session = self.ffi.new("struct cl_session *")
        assert self.lib.cl_engine_open(self.ffi.addressof(self.model.head), self.arena) >= 0
        assert self.lib.cl_session_init(self.session, self.config) == 0

    def tell(self, message: Message) -> Message | None:
        raw = message.encode()
        token = self.ffi.new("struct cl_link_token *")
        if not self.lib.cl_session_take(self.session, self.ffi.new("uint8_t[]", raw), len(raw), token):
            return None
        payload = self.ffi.new("uint8_t[]", 256)
        count = self.lib.cl_session_encode(self.session, token, payload, 256)
        return decode(bytes(self.ffi.buffer(payload, count)))

    def sample(self, number: int, x: np.ndarray) -> np.ndarray:
        assert self.tell(Sample(sample=number, recording=1)) is None
        self.ffi.memmove(self.arena + self.model.head.input_offset, x.tobytes(), x.size)
        for op in range(self.lib.cl_session_op_count(self.session)):
            assert self.lib.cl_session_run(self.session, op) == 0
        assert self.lib.cl_session_captured(self.session, 0) == 0
        token = self.ffi.new("struct cl_link_token *")
        while self.lib.cl_session_next(self.session, 200, token):
            pass
        assert self.lib.cl_session_sent(self.session) == 0
        head = self.ffi.addressof(self.model.head)
        y = smashed(self, partial(self.lib.cl_session_smashed, self.session), head)
        return np.frombuffer(y, np.int8)

    def clamped(self) -> tuple[int, int]:
        cut = self.model.head.cuts[self.model.head.cut_count - 1]
        return cut.activation_min, cut.activation_max


def inputs(library: Library, count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(-128, 128, (count, library.given.graph.input.count)).astype(np.int8)


def test_interpreted_head_gives_the_bytes_of_the_compiled_one(library: Library) -> None:
    found = {}
    for name in ("cutlayer", "compiled"):
        head, arena = library.head(name), library.arena(name)
        assert library.lib.cl_engine_open(head, arena) >= 0
        outputs = []
        for x in inputs(library, 3):
            library.ffi.memmove(arena + head.input_offset, x.tobytes(), x.size)
            assert library.lib.cl_head_run(head, arena, 0, library.lib.cl_head_whole_ops(head)) >= 0
            outputs.append(smashed(library, partial(library.lib.cl_head_output, head, arena), head))
        found[name] = outputs
    assert found["cutlayer"] == found["compiled"]
    assert any(found["compiled"][0])
    assert library.lib.fake_tflm.invocations == 4  # once when opened
    assert library.lib.fake_tflm.ops == len(library.given.interpreted.kinds)


def test_board_trains_the_same_weights_with_both_engines(conv_library: Library) -> None:
    applied = {}
    for name in ("cutlayer", "compiled"):
        board, rng = Board(conv_library, name), np.random.default_rng(4)
        board.tell(Hello())
        last = board.model.head.cut_count - 1
        assert isinstance(board.tell(Configure(cut=last, momentum=0.9, restart=True)), Configured)
        crcs = []
        for step, x in enumerate(inputs(conv_library, 5), 1):
            y = board.sample(step, x)
            mask = np.isin(y, board.clamped())
            assert board.tell(Gradient(sample=step, count=y.size, scale=1e-4)) is None
            g = rng.integers(-127, 128, y.size).astype(np.int8)
            for piece in tensors.gradient_pieces(g, mask, 0, 200):
                assert board.tell(piece) is None
            answer = board.tell(Apply(samples=1, step=step, learning_rate=0.01))
            assert isinstance(answer, Applied), answer
            crcs.append(answer.weights_crc)
        applied[name] = crcs
    assert applied["cutlayer"] == applied["compiled"]
    assert len(set(applied["compiled"])) == 5


def test_cuts_inside_the_interpreter_are_refused(conv_library: Library) -> None:
    board = Board(conv_library, "cutlayer")
    board.tell(Hello())
    cuts = [board.model.head.cuts[i].op_count for i in range(board.model.head.cut_count)]
    assert cuts == [0, 1, 2]
    assert len(cuts) == len(conv_library.given.plan.cuts)
    answers = [board.tell(Configure(cut=cut, momentum=0.9, restart=True)) for cut in range(3)]
    assert isinstance(answers[0], Error)
    assert answers[0].code == ERROR_VALUE
    assert isinstance(answers[1], Configured)
    assert isinstance(answers[2], Configured)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("invoke", 1, ERROR_VALUE), ("type", 1, ERROR_VALUE), ("ops_fail", 2, ERROR_VALUE)],
)
def test_what_the_library_cannot_run_is_found_when_it_is_opened(
    conv_library: Library, field: str, value: int, expected: int
) -> None:
    setattr(conv_library.lib.fake_tflm, field, value)
    assert conv_library.lib.cl_engine_open(conv_library.head(), conv_library.arena()) == expected


@pytest.mark.parametrize("memory_bytes", [16, 1024])
def test_too_little_memory_is_found_when_it_is_opened(conv_library: Library, memory_bytes: int) -> None:
    ffi, head = conv_library.ffi, conv_library.head()
    engine = ffi.new("struct cl_engine *", head.engine[0])
    engine.memory_bytes = memory_bytes
    small = ffi.new("struct cl_head *", head[0])
    small.engine = engine
    assert conv_library.lib.cl_engine_open(small, conv_library.arena()) == ERROR_MEMORY


@pytest.mark.parametrize("name", ["rnd_head1", "rnd_head4", "ad", "kws", "resnet"])
def test_the_interpreters_part_gives_tflms_own_bytes(name: str) -> None:
    """TFLM runs the part alone, and the whole head: the tensor where the part ends is the same."""
    given = model(name)
    end = given.graph.output if given.trainable is None else given.plan.steps[-1].lowered.input
    whole, part = Oracle(given.tflite), Oracle(given.interpreted.tflite)
    graph = read_graph(given.interpreted.tflite)
    assert graph.output.count == end.count == given.interpreted.output_count
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, given.graph.input.shape).astype(np.int8)
        whole.run(x)
        part.run(x)
        np.testing.assert_array_equal(part.tensor(graph.output.index), whole.tensor(end.index))


def test_the_part_leaves_out_the_trainable_layers_weights() -> None:
    given = model("ad")
    assert given.trainable is not None
    weights = given.plan.steps[-1].lowered.params["weights"].nbytes
    assert len(given.interpreted.tflite) < len(given.tflite) - weights


@pytest.mark.parametrize(("name", "least_bytes"), LEAST_BYTES.items())
def test_the_planned_memory_is_little_more_than_the_library_needs(name: str, least_bytes: int) -> None:
    assert least_bytes <= model(name).interpreted.memory_bytes <= 1.02 * least_bytes + 576


def test_an_op_that_the_library_lacks_is_refused_by_name() -> None:
    given = model("kws")
    lacking = {kind: method for kind, method in RESOLVER.items() if kind not in ("SOFTMAX", "RESHAPE")}
    with pytest.raises(
        ConvertError, match=r"Chirale_TensorFLowLite 2\.0\.0 lacks RESHAPE, SOFTMAX"
    ) as raised:
        interpret(given.tflite, given.graph, given.plan, given.trainable, lacking)
    assert raised.value.hint is not None
    assert "CONV_2D" in raised.value.hint


def test_a_head_that_is_the_trainable_layer_alone_has_nothing_to_interpret() -> None:
    with pytest.raises(ConvertError, match="nothing is left for the interpreter"):
        model("rnd_head0")


def test_every_op_of_the_firmware_can_be_interpreted() -> None:
    from cutlayer_converter.ops.registry import ALIASES, OPS

    assert set(RESOLVER) == {*OPS, *ALIASES}
