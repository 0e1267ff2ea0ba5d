"""Instructions and memory of the trainable layer's update on an emulated Cortex-M, counted by QEMU."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cutlayer_converter.counted import build_program, check_machine, defines_for, run_program, train_sources
from cutlayer_converter.ops.armv7em import PLAIN, plain_scratch_bytes

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec, InstructionSet
    from cutlayer_converter.trainable import Kind, Master

Optimizer = Literal["sgd", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "adam")


@dataclass(frozen=True, slots=True)
class UpdateLayer:
    """A layer of stride 1 with "same" padding: `depth` channels in (depthwise: as many as out)."""

    name: str
    kind: Kind
    height: int
    width: int
    depth: int
    channels: int
    kernel: int = 1

    @property
    def weight_count(self) -> int:
        """Weights, without biases."""
        return self.channels * self.kernel**2 * (1 if self.kind == "depthwise" else self.depth)

    @property
    def macs(self) -> int:
        """Multiplications of one sample's gradient, padded taps counted."""
        return self.height * self.width * self.weight_count


# The last layer of the keyword spotting head first.
LAYERS = (
    UpdateLayer("pointwise", "conv2d", 25, 5, 64, 64),
    UpdateLayer("convolution", "conv2d", 12, 8, 16, 32, kernel=3),
    UpdateLayer("depthwise", "depthwise", 25, 5, 64, 64, kernel=3),
    UpdateLayer("dense", "dense", 1, 1, 64, 12),
)


@dataclass(frozen=True, slots=True)
class UpdateFigures:
    """Instructions of one sample (forward, its gradient) and of one update; bytes of the layer's state."""

    forward: int
    accumulate: int
    apply: int
    train_bytes: int
    stack_bytes: int


def measure_update(
    layer: UpdateLayer,
    optimizer: Optimizer,
    board: BoardSpec,
    instruction_set: InstructionSet,
    *,
    master: Master = "float32",
) -> UpdateFigures:
    """Trains `layer` on random inputs and gradients; `master` is what its master weights are kept as.

    For another `instruction_set` than Armv7E-M it is built without the SIMD instructions that it uses where
    there are some, and with the portable kernel for the forward.

    Raises:
        ConvertError: The board is none that this can count on, or compiler or emulator fail.
    """
    check_machine(board)
    assert board.instructions_per_tick is not None
    plain = instruction_set == "armv7e-m" and layer.kind == "conv2d"
    with tempfile.TemporaryDirectory(prefix="cutlayer-bench-") as name:
        folder = Path(name)
        (folder / "bench_layer.h").write_text(_layer_header(layer, optimizer, master, plain=plain))
        defines = ["-DBENCH_COUNT", *defines_for(instruction_set)]
        program = build_program("bench_update", folder, train_sources(), board, defines)
        found = {line[0]: int(line[1]) for line in run_program(program, board)}
    counts = {
        name: round(found[name] * board.instructions_per_tick) for name in ("forward", "accumulate", "apply")
    }
    return UpdateFigures(**counts, train_bytes=found["bytes"], stack_bytes=found["stack"])


def _layer_header(layer: UpdateLayer, optimizer: Optimizer, master: Master, *, plain: bool) -> str:
    pad, parameters = (layer.kernel - 1) // 2, layer.weight_count + layer.channels
    weights = ", ".join(str((37 * i) % 255 - 127) for i in range(layer.weight_count))
    window, outputs = 2 * layer.kernel**2 * layer.depth, layer.height * layer.width * layer.channels
    gradient = 16 * _aligned(layer.channels) + layer.channels + outputs // 8 + 1
    kind, name = f"CL_LAYER_{layer.kind.upper()}", f"CL_OPTIMIZER_{optimizer.upper()}"
    same = {"multiplier": "int32_t", "shift": "int8_t", "weight_scale": "float"}
    values = {"multiplier": "1 << 30", "shift": "-6", "weight_scale": "0.004f"}
    tables = [
        f"static const {c_type} {field}[] = {{{', '.join([values[field]] * layer.channels)}}};"
        for field, c_type in same.items()
    ]
    return "\n".join(
        [
            f"#define CHANNELS {layer.channels}u",
            f"#define INPUT_COUNT {layer.height * layer.width * layer.depth}u",
            f"#define OUTPUT_COUNT {outputs}u",
            f"#define ROW_COUNT {layer.width * layer.channels}u",
            f"#define GRADIENT_BYTES {_aligned(gradient)}u",
            f"#define SCRATCH_BYTES {max(4 * layer.channels + window, _plain_scratch_bytes(layer))}u",
            f"#define MEMORY_BYTES {24 * (parameters + 16 * layer.channels)}u",
            f"static const int8_t weights[] = {{{weights}}};",
            f"static const int32_t bias[{layer.channels}];",
            *tables,
            "static const struct cl_conv_params params = {",
            f"    .input = {{{layer.height}, {layer.width}, {layer.depth}}},",
            f"    .output = {{{layer.height}, {layer.width}, {layer.channels}}},",
            f"    .kernel_height = {layer.kernel}, .kernel_width = {layer.kernel},",
            f"    .stride_height = 1, .stride_width = 1, .pad_top = {pad}, .pad_left = {pad},",
            "    .depth_multiplier = 1, .input_zero_point = -128, .output_zero_point = -128,",
            "    .activation_min = -128, .activation_max = 127,",
            "    .weights = weights, .bias = bias, .multiplier = multiplier, .shift = shift};",
            "static const struct cl_trainable layer = {",
            f"    .kind = {kind}, .optimizer_max = {name}, .params = &params,",
            "    .weight_scale = weight_scale, .input_scale = 0.02f, .output_scale = 0.01f,",
            f"    .weight_count = {layer.weight_count}, .channel_count = {layer.channels},",
            f"    .activation = CL_ACTIVATION_RELU, .master = CL_MASTER_{master.upper()},",
            f"    .rows = {f'{PLAIN}_rows' if plain else 0}}};",
            f"static const struct cl_train_config config = {{{name}, 0.9f, 0.999f, 1e-7f}};",
            "",
        ]
    )


def _plain_scratch_bytes(layer: UpdateLayer) -> int:
    size, pad = (layer.height, layer.width), (layer.kernel - 1) // 2
    same = {"kernel": layer.kernel, "stride": 1}
    fields = {f"{name}_{axis}": value for name, value in same.items() for axis in ("height", "width")}
    shapes = {"input": (*size, layer.depth), "output": (*size, layer.channels)}
    return plain_scratch_bytes({**shapes, **fields, "pad_top": pad, "pad_left": pad})


def _aligned(count: int) -> int:
    """Rounded up to a multiple of 4."""
    return -(-count // 4) * 4
