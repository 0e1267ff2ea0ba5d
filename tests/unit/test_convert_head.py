"""What the converter says of heads that the firmware cannot run, and the plan and the C of those it can."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from baseline import NAMES, baseline
from core import INCLUDE
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_builder import RELU, RELU6, SAME, VALID, TfliteBuilder

from cutlayer_converter import verify
from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.graph import read_graph
from cutlayer_converter.ops.registry import OPS
from cutlayer_converter.placement import Buffer, place
from cutlayer_converter.trainable import TrainableSpec, find_trainable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONVOLUTION = {
    "padding": SAME,
    "strideH": 1,
    "strideW": 1,
    "dilationHFactor": 1,
    "dilationWFactor": 1,
    "fusedActivationFunction": RELU,
}


def convolution(weights: np.ndarray[Any, Any] | None = None, scale: float = 0.1, **changes: Any) -> bytes:
    """A model of one convolution, 4 x 4 x 2 to 4 x 4 x 3, with changes."""
    builder = TfliteBuilder()
    values = np.ones((3, 3, 3, 2), np.int8) if weights is None else weights
    source = builder.activation((1, 4, 4, 2), scale, 3)
    inputs = [source, builder.constant(values, [0.01])]
    output = builder.activation((1, 4, 4, values.shape[0]), 0.2, -128)
    builder.operator("CONV_2D", inputs, output, **(CONVOLUTION | changes))
    return builder.build([source], [output])


def unknown_op() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 8), 0.1, 0)
    middle = builder.operator("RELU", [source], builder.activation((1, 8), 0.1, 0))
    output = builder.operator("TANH", [middle], builder.activation((1, 8), 1 / 128, 0))
    return builder.build([source], [output])


def relu6_with_two_scales() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 8), 0.1, 0)
    output = builder.operator("RELU6", [source], builder.activation((1, 8), 6 / 255, -128))
    return builder.build([source], [output])


def mean_over_channels() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 4, 4, 2), 0.1, 0)
    inputs = [source, builder.constant(np.array([3], np.int32))]
    output = builder.operator("MEAN", inputs, builder.activation((1, 4, 4), 0.1, 0))
    return builder.build([source], [output])


def add_of_columns() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 4, 4, 2), 0.1, 0)
    other = builder.constant(np.ones((1, 4, 4, 1), np.int8), [0.1])
    output = builder.operator("ADD", [source, other], builder.activation((1, 4, 4, 2), 0.1, 0))
    return builder.build([source], [output])


def pad_of_channels() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 4, 4, 2), 0.1, 0)
    pads = builder.constant(np.array([[0, 0], [0, 0], [0, 0], [1, 1]], np.int32))
    output = builder.operator("PAD", [source, pads], builder.activation((1, 4, 4, 4), 0.1, 0))
    return builder.build([source], [output])


def two_inputs() -> bytes:
    builder = TfliteBuilder()
    sources = [builder.activation((1, 8), 0.1, 0) for _ in range(2)]
    output = builder.operator("ADD", sources, builder.activation((1, 8), 0.1, 0))
    return builder.build(sources, [output])


def float_input() -> bytes:
    builder = TfliteBuilder()
    source = builder._tensor((1, 8), "FLOAT32", [], 0, 0, 0)
    output = builder.operator("QUANTIZE", [source], builder.activation((1, 8), 0.1, 0))
    return builder.build([source], [output])


def no_operator() -> bytes:
    builder = TfliteBuilder()
    source = builder.activation((1, 8), 0.1, 0)
    return builder.build([source], [source])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "an op the firmware lacks": (unknown_op, r"lacks TANH \(operator 1 of the head, 'tensor 2'\)"),
    "dilation": (lambda: convolution(dilationHFactor=2), r"CONV_2D .* dilation is \(2, 1\)"),
    "groups": (lambda: convolution(np.ones((3, 3, 3, 1), np.int8)), "1 of 2 input channels"),
    "an activation": (lambda: convolution(fusedActivationFunction=4), "fused activation 4"),
    "a stride": (lambda: convolution(strideH=300, strideW=1), r"stride \(300, 1\)"),
    "padding that does not fit": (lambda: convolution(padding=VALID), "give 2, not 4"),
    "an activation scale of 0": (lambda: convolution(scale=0.0), "not int8 with one"),
    "ReLU6 from one scale to another": (relu6_with_two_scales, "RELU6 .* does not compute"),
    "a mean over channels": (mean_over_channels, r"MEAN .* axes \[3\]"),
    "an addition of columns": (add_of_columns, r"ADD .* \(1, 4, 4, 2\) and \(1, 4, 4, 1\)"),
    "padded channels": (pad_of_channels, "PAD .* it pads"),
    "two inputs": (two_inputs, "has 2 inputs"),
    "a float input": (float_input, "is float32, not quantized int8"),
    "no operator": (no_operator, "has no operator"),
    "no model": (lambda: b"PK\x03\x04 not a model", "no TFLite model"),
    "nothing": (lambda: b"", "no TFLite model: 0 bytes"),
    "half a model": (lambda: convolution()[:200], "no TFLite model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_thing_and_the_way_out(case: str) -> None:
    make, message = REFUSED[case]
    tflite = make()
    with pytest.raises(ConvertError, match=message) as raised:
        plan(read_graph(tflite))
    assert raised.value.hint


def test_an_unknown_op_lists_what_is_supported() -> None:
    with pytest.raises(ConvertError) as raised:
        plan(read_graph(unknown_op()))
    assert raised.value.hint is not None
    assert set(OPS) <= set(re.findall(r"\w+", raised.value.hint))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_models_are_refused_or_read(data: st.DataObject) -> None:
    tflite = bytearray(convolution())
    for _ in range(data.draw(st.integers(1, 4))):
        tflite[data.draw(st.integers(8, len(tflite) - 1))] = data.draw(st.integers(0, 255))
    # Anything but ConvertError fails.
    with contextlib.suppress(ConvertError):
        plan(read_graph(bytes(tflite)))


buffers = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=14
).map(lambda rows: [Buffer(size, first, first + length) for size, first, length in rows])


@settings(max_examples=100, deadline=None)
@given(buffers)
def test_buffers_that_live_together_never_share_bytes(placed: list[Buffer]) -> None:
    total = place(placed)
    assert total % 16 == 0
    for index, one in enumerate(placed):
        assert one.offset % 16 == 0
        assert 0 <= one.offset <= total - one.size
        for other in placed[:index]:
            apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            assert apart or not one.meets(other)


@pytest.mark.parametrize(("name", "most_bytes"), [("kws", 16_256), ("resnet", 49_504), ("vww", 55_360)])
def test_the_arena_is_what_one_step_needs(name: str, most_bytes: int) -> None:
    # Input, output and scratch of the step with most.
    assert plan(read_graph(baseline(name).tflite)).arena_bytes <= most_bytes


def test_a_sensor_may_work_in_the_arena_behind_the_input() -> None:
    """Which lies at its beginning in all of these, and the arena is no larger for that."""
    for name in NAMES:
        graph = read_graph(baseline(name).tflite)
        found = plan(graph)
        assert found.input_offset == 0
        assert 0 <= found.sensor_offset - graph.input.count < 16
        assert found.sensor_offset % 16 == 0
        assert found.sensor_offset <= found.arena_bytes
        assert found.sensor_bytes == 0  # no head of these hears as firmware/lib/kws does


@settings(max_examples=100, deadline=None)
@given(buffers)
def test_a_low_buffer_costs_nothing(placed: list[Buffer]) -> None:
    before, freely = place(placed), placed[0].offset
    assert (place(placed, placed[0]), placed[0].offset) <= (before, freely)


def test_the_trainable_layers_input_and_output_are_apart() -> None:
    for name in NAMES:
        last = plan(read_graph(baseline(name).tflite)).steps[-1]
        if not last.lowered.in_place:
            low, high = sorted(
                [
                    (last.input_offset, last.lowered.input.count),
                    (last.output_offset, last.lowered.output.count),
                ]
            )
            assert low[0] + low[1] <= high[0]


def test_cuts_are_where_one_tensor_is_alive() -> None:
    cuts = plan(read_graph(baseline("resnet").tflite)).cuts
    # conv, then two residual blocks of three and four operators and one more, then pool, dense and softmax;
    # the first block's convolutions are one
    assert [cut.op_count for cut in cuts] == [1, 3, 7, 11, 12, 13, 14]


def test_trainable_layers() -> None:
    kinds = {}
    for name in NAMES:
        found = find_trainable(plan(read_graph(baseline(name).tflite)), "adam")
        kinds[name] = found.kind if isinstance(found, TrainableSpec) else found
    assert kinds["rnd_head0"] == "conv2d"
    assert kinds["ad"] == "dense"
    assert kinds["kws"] == "the head ends with SOFTMAX, which has no weights to train"


def test_trainable_says_what_the_layer_is() -> None:
    found = find_trainable(plan(read_graph(convolution(fusedActivationFunction=RELU6))), "sgd")
    assert found == TrainableSpec(
        kind="conv2d",
        optimizer="sgd",
        weight_shape=(3, 3, 3, 2),
        weight_scales=(float(np.float32(0.01)),) * 3,
        channel_count=3,
        activation="relu6",
        input_scale=float(np.float32(0.1)),
        output_scale=float(np.float32(0.2)),
    )


@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("name", ["rnd_head1", "resnet"])
def test_the_emitted_c_has_no_warnings(name: str, compiler: str, tmp_path: Path) -> None:
    graph = read_graph(baseline(name).tflite)
    arena_plan = plan(graph)
    found = find_trainable(arena_plan, "adam")
    trainable = found if isinstance(found, TrainableSpec) else None
    paths = emit(graph, arena_plan, model_id=bytes(range(32)), trainable=trainable, out=tmp_path)
    assert [path.name for path in paths] == ["cutlayer_model.c", "cutlayer_model.h"]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
    command = [compiler, *flags, f"-I{INCLUDE}", "-c", paths[0], "-o", tmp_path / "model.o"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_emitting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = read_graph(baseline("resnet").tflite)
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = emit(graph, plan(graph), model_id=bytes(32), trainable=None, out=tmp_path / name)
        texts.append([path.read_bytes() for path in paths])
    assert texts[0] == texts[1]


def test_verify_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConvertError, match="no C compiler") as raised:
        verify.verify(baseline("rnd_head0").tflite, samples=1)
    assert raised.value.hint == "install gcc, or convert without --verify"


def test_verify_finds_a_wrong_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Any, arena_plan: Any, **options: Any) -> Any:
        weights = arena_plan.steps[0].lowered.params["weights"].copy()
        weights.flat[0] ^= 0x40
        arena_plan.steps[0].lowered.params["weights"] = weights
        return emit(graph, arena_plan, **options)

    monkeypatch.setattr(verify, "emit", wrong)
    with pytest.raises(ConvertError, match=r"cut after 1 operators .* differ from TensorFlow Lite Micro"):
        verify.verify(baseline("rnd_head0").tflite, samples=2)
