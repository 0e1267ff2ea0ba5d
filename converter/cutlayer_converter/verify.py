"""Whether a compiled head gives the same bytes as TensorFlow Lite Micro, whole and stopped at every cut.

The emitted C is compiled for this computer, once for each set of kernels in plain C, and compared with the
`tflite_micro` interpreter (the `dev` extra) on random inputs.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import read_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cutlayer_converter.arena import ArenaPlan, Cut
    from cutlayer_converter.graph import Graph

# The kernels in plain C: the others exist only where the compiler has their instructions.
NativeSet = Literal["portable", "long-multiply"]

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off")


class NativeHead:
    """A compiled head on this computer."""

    def __init__(self, library: Path, graph: Graph, arena_plan: ArenaPlan) -> None:
        self.graph = graph
        self.plan = arena_plan
        loaded = ctypes.CDLL(str(library))
        loaded.cutlayer_verify_arena.restype = ctypes.POINTER(ctypes.c_int8)
        loaded.cutlayer_verify_run.argtypes = (ctypes.c_uint16, ctypes.c_uint16)
        loaded.cutlayer_verify_output.argtypes = (np.ctypeslib.ndpointer(np.int8),)
        self._loaded = loaded
        self.arena: NDArray[np.int8] = np.ctypeslib.as_array(
            loaded.cutlayer_verify_arena(), (arena_plan.arena_bytes,)
        )

    def run(self, sample: NDArray[np.int8], cut: Cut | None = None) -> NDArray[np.int8]:
        """The bytes at `cut` (the last one by default) for one int8 input, in the cut's shape."""
        cut = cut or self.plan.cuts[-1]
        start = self.plan.input_offset
        self.arena[start : start + sample.size] = sample.reshape(-1)
        return self.go_on(0, cut)

    def go_on(self, done: int, cut: Cut) -> NDArray[np.int8]:
        """The bytes at `cut`, in its shape, when the first `done` ops have run."""
        makes_rows = self.plan.rows is not None and cut is self.plan.cuts[-1]
        last = cut.op_count - int(makes_rows)
        if self.run_range(done, last) != last:
            message = f"the compiled head does not run to op {last}"
            raise ConvertError(
                message, "report this with the model: the converter wrote a table that is wrong"
            )
        if not makes_rows:
            return self.arena[cut.offset : cut.offset + cut.tensor.count].reshape(cut.tensor.shape).copy()
        output = np.empty(cut.tensor.count, np.int8)
        self._loaded.cutlayer_verify_output(output)
        return output.reshape(cut.tensor.shape)

    def run_range(self, first: int, last: int) -> int:
        """Runs ops [first, last) on the arena; returns cl_head_run's result."""
        return int(self._loaded.cutlayer_verify_run(first, last))


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared without a difference."""

    samples: int
    cuts: int
    byte_count: int


def compile_native(
    folder: Path, graph: Graph, arena_plan: ArenaPlan, build: Path, flags: tuple[str, ...] = FLAGS
) -> NativeHead:
    """Compiles the emitted head in `folder` for this computer, into the existing folder `build`.

    Raises:
        ConvertError: There is no C compiler or no firmware source, or the C does not compile.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        message = "no C compiler (cc, gcc or clang) is on PATH; the compiled head cannot run on this computer"
        raise ConvertError(message, "install gcc, or convert without --verify")
    core = FIRMWARE / "lib" / "cutlayer" / "src"
    if not (core / "head.c").is_file():
        message = f"the firmware's sources are not at {core}"
        raise ConvertError(message, "run from a checkout of cutlayer, or convert without --verify")
    library = build / "head.so"
    sources = [
        Path(__file__).parent / "templates" / "verify.c",
        folder / "cutlayer_model.c",
        core / "head.c",
        *sorted((core / "kernels").rglob("*.c")),
    ]
    includes = [f"-I{path}" for path in (FIRMWARE / "include", core, folder)]
    command = [compiler, *flags, "-fPIC", "-shared", *includes, "-o", str(library), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"the compiled head in {folder} does not compile: {done.stderr.strip()[:2000]}"
        raise ConvertError(message, "report this with the model: the converter wrote C that is wrong")
    return NativeHead(library, graph, arena_plan)


class Oracle:
    """The `tflite_micro` interpreter with every tensor kept."""

    def __init__(self, tflite: bytes) -> None:
        try:
            from tflite_micro.python.tflite_micro import runtime
        except ImportError as error:
            message = "the tflite_micro package is not installed; there is nothing to compare with"
            raise ConvertError(message, "pip install 'cutlayer[dev]', or convert without --verify") from error
        self._interpreter: Any = runtime.Interpreter.from_bytes(
            tflite,
            arena_size=len(tflite) * 4 + 4_000_000,
            intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
        )

    def run(self, sample: NDArray[np.int8]) -> None:
        """Runs the model on one input, in the model's input shape."""
        self._interpreter.set_input(sample, 0)
        self._interpreter.invoke()

    def tensor(self, index: int) -> NDArray[np.int8]:
        """A tensor of the last run."""
        return np.asarray(self._interpreter.GetTensor(index, 0)["tensor_data"], np.int8)


@contextmanager
def native_head(
    tflite: bytes, instruction_set: NativeSet = "portable", first_cut: int = 0
) -> Iterator[NativeHead]:
    """`tflite` compiled for this computer, in a temporary folder; cuts before `first_cut` may vanish."""
    graph = read_graph(tflite)
    arena_plan = plan(graph, instruction_set, first_cut=first_cut)
    with tempfile.TemporaryDirectory(prefix="cutlayer-verify-") as name:
        folder = Path(name)
        emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
        yield compile_native(folder, graph, arena_plan, folder)


def verify(tflite: bytes, samples: int = 8, seed: int = 0, first_cut: int = 0) -> Verification:
    """Compares the compiled head of `tflite` with TFLM at every cut; those before `first_cut` may vanish.

    Raises:
        ConvertError: A byte differs, or something needed for the comparison is missing.
    """
    oracle = Oracle(tflite)
    generator = np.random.default_rng(seed)
    byte_count = 0
    with (
        native_head(tflite, "portable", first_cut) as head,
        native_head(tflite, "long-multiply", first_cut) as long,
    ):
        for number in range(samples):
            sample = random_sample(generator, head.graph.input.shape, number)
            oracle.run(sample)
            for compiled in (head, long):
                for cut in compiled.plan.stops:
                    theirs = oracle.tensor(cut.tensor.index)
                    byte_count += compare(compiled.run(sample, cut), theirs, cut, number)
        return Verification(samples, len(head.plan.stops), byte_count)


def random_sample(generator: np.random.Generator, shape: tuple[int, ...], number: int) -> NDArray[np.int8]:
    """Uniform bytes; every fourth sample only the range's ends."""
    if number % 4 == 3:
        return generator.choice(np.array([-128, 127], np.int8), shape)
    return generator.integers(-128, 128, shape, np.int8)


def compare(ours: NDArray[np.int8], theirs: NDArray[np.int8], cut: Cut, number: int) -> int:
    """The bytes compared; ConvertError when one differs."""
    different = np.flatnonzero(ours.reshape(-1) != theirs.reshape(-1))
    if different.size:
        first = int(different[0])
        message = (
            f"sample {number}, cut after {cut.op_count} operators ({cut.tensor.name!r}): {different.size} of "
            f"{ours.size} bytes differ from TensorFlow Lite Micro; element {first} is {ours.flat[first]}, "
            f"not {theirs.flat[first]}"
        )
        raise ConvertError(message, "report this with the model: the firmware's kernels must equal TFLM's")
    return ours.size
