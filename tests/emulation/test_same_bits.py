"""The emulated Cortex-M4F, the native process, TensorFlow Lite Micro and NumPy agree to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from emulation_host import (
    GRADIENT_SCALE,
    LEARNING_RATE,
    configure_adam,
    configure_sgd,
    gradient,
    lesson,
    read_all,
    train,
)
from train_reference import Config, F, Layer, Reference

from cutlayer_boards.build import build_firmware
from cutlayer_boards.emulator import emulate
from cutlayer_boards.spec import board
from cutlayer_converter.bundle import Manifest, load_manifest
from cutlayer_host.opening import connect

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_host.device import Device

RECORDINGS = 16
STEPS = lesson(steps=200, batch=2, recordings=RECORDINGS)


def oracle(bundle: Path, inputs: np.ndarray) -> np.ndarray:
    """TensorFlow Lite Micro's smashed data, int8 [recordings, count]."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes((bundle / "head.tflite").read_bytes())
    outputs = []
    for x in inputs:
        interpreter.set_input(x[None], 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)).ravel())
    return np.stack(outputs)


async def smashed(device: Device, cut: int) -> np.ndarray:
    await device.configure(configure_adam(cut=cut))
    return np.stack([(await device.sample(i, i, train=False)).values for i in range(RECORDINGS)])


async def test_head_gives_the_bytes_of_tflm(any_board, build, tiny_bundle, tiny_inputs, tiny_microphone):
    firmware = build(any_board, tiny_bundle)
    async with (
        emulate(any_board, firmware, tiny_microphone) as node,
        connect(node.url, key=node.key) as device,
    ):
        found = await smashed(device, cut=2)
    np.testing.assert_array_equal(found, oracle(tiny_bundle, tiny_inputs))


def reference_layer(manifest: Manifest, sections: dict[str, bytes]) -> Layer:
    """The trainable layer as the board has it before the first step: 1 x 1 convolution."""
    spec, before, last = manifest.trainable, manifest.cuts[-2], manifest.cuts[-1]
    assert spec is not None
    return Layer(
        kind=spec.kind,
        input_shape=before.shape,
        output_shape=last.shape,
        kernel=(1, 1),
        stride=(1, 1),
        pad=(0, 0),
        depth_multiplier=1,
        input_scale=F(spec.input_scale),
        input_zero_point=before.zero_point,
        output_scale=F(last.scale),
        output_zero_point=last.zero_point,
        activation=spec.activation,
        weights=np.frombuffer(sections["weights"], np.int8),
        bias=np.frombuffer(sections["bias"], "<i4"),
        weight_scale=np.frombuffer(sections["weight scales"], "<f4"),
    )


def reference_sections(
    layer: Layer, config: Config, inputs: np.ndarray, clamped: tuple[int, int]
) -> dict[str, bytes]:
    """The same lesson in NumPy."""
    reference = Reference(layer, config)
    for visits in STEPS:
        for visit in visits:
            a = inputs[visit.recording].reshape(layer.input_shape)
            y = reference.forward(a)
            masked = (y == clamped[0]) | (y == clamped[1])
            reference.accumulate(a, gradient(visit, masked.ravel()).reshape(y.shape))
        reference.apply(F(GRADIENT_SCALE), F(LEARNING_RATE))
    moments = [
        layer.by_kernel(reference.moments[i]).tobytes() + reference.moments[i + 1].tobytes() for i in (0, 2)
    ]
    return {
        "weights": layer.by_kernel(reference.weights).astype(np.int8).tobytes(),
        "bias": reference.bias.astype("<i4").tobytes(),
        "weight scales": reference.weight_scale.astype("<f4").tobytes(),
        "master": layer.by_kernel(reference.w).tobytes() + reference.b.tobytes(),
        "moment 1": moments[0],
        "moment 2": moments[1],
    }


@pytest.mark.qemu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
async def test_200_steps_give_the_same_weights_everywhere(optimizer, build, tiny_bundle, tiny_microphone):
    manifest = load_manifest(tiny_bundle)
    configuration = {"sgd": configure_sgd, "adam": configure_adam}[optimizer](cut=2)
    sections = 6 if optimizer == "adam" else 5
    found, inputs, before = {}, {}, {}
    for name in ("native", "qemu_mps2_an386"):
        spec = board(name)
        firmware = build(spec, tiny_bundle)
        async with (
            emulate(spec, firmware, tiny_microphone) as node,
            connect(node.url, key=node.key) as device,
        ):
            inputs[name] = await smashed(device, cut=1)
            await device.configure(configuration)
            before[name] = await read_all(device, 3)
            await train(device, STEPS)
            found[name] = await read_all(device, sections)
    last = manifest.cuts[-1]
    expected = reference_sections(
        reference_layer(manifest, before["native"]),
        Config(optimizer, F(0.9)),
        inputs["native"],
        (last.activation_min, last.activation_max),
    )
    assert before["native"] == before["qemu_mps2_an386"]
    assert found["native"]["weights"] != before["native"]["weights"]
    for section in found["native"]:
        assert found["native"][section] == expected[section], section
        assert found["qemu_mps2_an386"][section] == expected[section], section


@pytest.mark.qemu
async def test_counts_of_instructions_repeat(qemu, build, tiny_bundle, tiny_microphone):
    firmware, counts = build(qemu, tiny_bundle), []
    for _ in range(2):
        async with (
            emulate(qemu, firmware, tiny_microphone, count_instructions=True) as node,
            connect(node.url, key=node.key) as device,
        ):
            await device.configure(configure_adam(cut=2))
            await train(device, STEPS[:3])
            stats = await device.stats()
            counts.append(
                [stats[name] * qemu.instructions_per_tick for name in ("head_ticks", "apply_ticks")]
            )
    # The same but for interrupts by bytes that arrive meanwhile, a few dozen instructions each.
    assert counts[0] == pytest.approx(counts[1], rel=0.05)
    assert 10_000 < counts[0][0] < 1_000_000


@pytest.mark.parametrize("optimizer", [configure_sgd, configure_adam])
async def test_training_under_sanitizers(optimizer, native, build, tiny_bundle, tiny_microphone):
    found = []
    for firmware in (build(native, tiny_bundle), build_firmware(native, tiny_bundle, sanitize=True)):
        async with emulate(native, firmware, tiny_microphone) as node:
            async with connect(node.url, key=node.key) as device:
                await device.configure(optimizer(cut=2))
                await train(device, STEPS[:20])
                found.append(await read_all(device, 5))
            node.process.stdin.close()
            assert await node.process.wait() == 0, node.log
    assert found[0] == found[1]
