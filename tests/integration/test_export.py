"""What a board and a tail have learned, as models: the layer is in its place, in int8 and in float."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import keras_zoo
import numpy as np
import pytest
from tflm_cut import smashed_by_tflm

from cutlayer_boards.spec import board
from cutlayer_converter.bundle import load_manifest
from cutlayer_converter.convert import convert
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.export import export, learned_head
from cutlayer_converter.graph import read_graph
from cutlayer_converter.learned import LearnedLayer, channel_shape, converted_layer, patch_head

if TYPE_CHECKING:
    from pathlib import Path

    from cutlayer_converter.bundle import TrainableLayer

TRAINABLE = [name for name, entry in keras_zoo.ZOO.items() if entry.kind]


def bundle_of(folder: Path, model: Any, samples: np.ndarray, cut: str) -> Path:
    model.save(folder / "model.keras")
    np.savez(folder / "calib.npz", samples)
    convert(folder / "model.keras", cut, board("native"), folder / "calib.npz", folder / "bundle")
    return folder / "bundle"


def moved(layer: LearnedLayer, spec: TrainableLayer) -> LearnedLayer:
    """What some steps might make of a layer: other weights and biases, a wider output scale."""
    random = np.random.default_rng(5)
    master = layer.master_weights * random.uniform(0.5, 1.5, layer.weights.shape).astype(np.float32)
    bias = layer.master_bias + random.normal(0, 0.1, layer.bias.shape).astype(np.float32)
    channels = channel_shape(spec)
    axes = tuple(axis for axis, size in enumerate(channels) if size == 1)
    scales = (np.abs(master).max(axis=axes) / 127).astype(np.float32)
    return LearnedLayer(
        weights=np.rint(master / scales.reshape(channels)).astype(np.int8),
        bias=np.rint(bias / (spec.input_scale * scales)).astype(np.int32),
        weight_scales=scales,
        master_weights=master,
        master_bias=bias,
        output_scale=float(np.float32(layer.output_scale * 1.5)),
        output_zero_point=layer.output_zero_point,
    )


def normed_dense(layers: Any, start: Any) -> Any:
    x = layers.Dense(7, use_bias=False)(layers.Flatten()(start))
    return layers.ReLU(name="cut")(layers.BatchNormalization(scale=False)(x))


def bare_depthwise(layers: Any, start: Any) -> Any:
    return layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, activation="relu6", name="cut")(
        start
    )


def separable(layers: Any, start: Any) -> Any:
    x = layers.SeparableConv2D(5, 3, name="both")(start)
    return layers.BatchNormalization(center=False, name="cut")(x)


SMALL = {build.__name__: build for build in (normed_dense, bare_depthwise, separable)}


def small(build: Any) -> tuple[Any, np.ndarray]:
    """The model of a head whose cut layer is "cut", with random statistics, and calibration inputs."""
    import keras

    keras.utils.set_random_seed(2)
    random = np.random.default_rng(1)
    start = keras.Input((6, 6, 3))
    end = keras.layers.Flatten()(build(keras.layers, start))
    model = keras.Model(start, keras.layers.Dense(3)(end))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    return model, random.normal(size=(16, 6, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("name", [*TRAINABLE, *SMALL])
def test_both_heads_have_the_learned_layer(name: str, tmp_path: Path) -> None:
    import keras

    model, samples = small(SMALL[name]) if name in SMALL else keras_zoo.build(name)
    cut = "cut" if name in SMALL else keras_zoo.ZOO[name].cut
    bundle = bundle_of(tmp_path, model, samples, cut)
    spec = load_manifest(bundle).trainable
    assert spec is not None
    tflite = (bundle / "head.tflite").read_bytes()
    converted = converted_layer(tflite, spec)
    head = keras.saving.load_model(bundle / "head.keras")
    before = np.asarray(head(samples[:8], training=False))

    # The converted layer put back is the same head, up to the rounding of its weights.
    again = np.asarray(learned_head(head, tflite, spec, converted)(samples[:8], training=False))
    assert np.abs(again - before).max() < 0.02 * np.ptp(before)

    learned = moved(converted, spec)
    whole = learned_head(head, tflite, spec, learned)
    after = np.asarray(whole(samples[:8], training=False))
    assert [layer.name for layer in whole.layers] == [layer.name for layer in head.layers]
    assert np.abs(after - before).max() > 0.1 * np.ptp(before)
    patched = patch_head(tflite, learned)
    on_board = smashed_by_tflm(patched, samples[:8]).reshape(after.shape)
    assert np.abs(on_board - after).max() < 0.06 * np.ptp(after)
    # What was patched is read back.
    found = converted_layer(patched, spec)
    for field in dataclasses.fields(LearnedLayer):
        if not field.name.startswith("master"):
            np.testing.assert_array_equal(
                getattr(found, field.name), getattr(learned, field.name), field.name
            )


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_export_is_the_model_and_converts_again(name: str, tmp_path: Path) -> None:
    import keras

    model, samples = keras_zoo.build(name)
    cut = keras_zoo.ZOO[name].cut
    bundle = bundle_of(tmp_path, model, samples, cut)
    spec = load_manifest(bundle).trainable
    learned = moved(converted_layer((bundle / "head.tflite").read_bytes(), spec), spec)
    tail = keras.saving.load_model(bundle / "tail.keras")
    weights = [weight * 0.9 for weight in tail.get_weights()]
    tail.set_weights(weights)

    assert export(bundle, tmp_path / "tail", weights, with_head=False) == ["tail.keras"]
    assert export(bundle, tmp_path / "frozen", weights) == ["head.tflite", "model.keras", "tail.keras"]
    export(bundle, tmp_path / "out", weights, learned)
    frozen, whole = (keras.saving.load_model(tmp_path / to / "model.keras") for to in ("frozen", "out"))
    head = keras.saving.load_model(bundle / "head.keras")
    expected = np.asarray(tail(head(samples[:8], training=False), training=False))
    np.testing.assert_allclose(frozen(samples[:8], training=False), expected, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "frozen" / "head.tflite").read_bytes() == (bundle / "head.tflite").read_bytes()

    smashed = smashed_by_tflm((tmp_path / "out" / "head.tflite").read_bytes(), samples[:8])
    by_parts = np.asarray(tail(smashed.reshape(-1, *tail.input_shape[1:]), training=False))
    at_once = np.asarray(whole(samples[:8], training=False))
    assert np.abs(by_parts - at_once).max() < 0.1 * np.ptp(at_once)
    # It may be cut and converted at the same layer, and then trained on.
    again = load_manifest(bundle_of(tmp_path / "tail", whole, samples, cut))
    assert again.trainable is not None
    assert (again.trainable.layer, again.trainable.weight_shape) == (spec.layer, spec.weight_shape)


def scaled_behind(layers: Any, start: Any) -> Any:
    return layers.Rescaling(0.5, name="cut")(layers.Conv2D(5, 1)(start))


def one_constant_for_two(layers: Any, start: Any) -> Any:
    """Equal layers after one another: TensorFlow keeps their equal biases once."""
    x = layers.Conv2D(4, 1, use_bias=False, kernel_initializer="ones")(start)
    x = layers.Conv2D(4, 1, use_bias=False, kernel_initializer="ones")(x)
    return layers.Conv2D(4, 1, use_bias=False, kernel_initializer="ones", name="cut")(x)


def called_twice(layers: Any, start: Any) -> Any:
    conv = layers.Conv2D(3, 1, name="twice")
    return layers.ReLU(name="cut")(conv(layers.ReLU()(conv(start))))


def test_a_constant_that_operators_share_changes_for_the_last_one_only(tmp_path: Path) -> None:
    model, samples = small(one_constant_for_two)
    bundle = bundle_of(tmp_path, model, samples, "cut")
    spec = load_manifest(bundle).trainable
    tflite = (bundle / "head.tflite").read_bytes()
    learned = moved(converted_layer(tflite, spec), spec)
    before, after = read_graph(tflite), read_graph(patch_head(tflite, learned))
    for old, new in zip(before.operators[:-1], after.operators[:-1], strict=True):
        for one, other in zip(before.inputs(old), after.inputs(new), strict=True):
            np.testing.assert_array_equal(one.values, other.values)
            np.testing.assert_array_equal(one.scales, other.scales)
    np.testing.assert_array_equal(after.inputs(after.operators[-1])[2].values, learned.bias)


@pytest.mark.parametrize(
    ("build", "wanted"), [(scaled_behind, "was folded in"), (called_twice, "used twice")]
)
def test_what_cannot_be_unfolded_is_refused_and_nothing_is_written(
    build: Any, wanted: str, tmp_path: Path
) -> None:
    model, samples = small(build)
    bundle = bundle_of(tmp_path, model, samples, "cut")
    manifest = load_manifest(bundle)
    learned = converted_layer((bundle / "head.tflite").read_bytes(), manifest.trainable)
    tail_shapes = [weight.shape for weight in model.layers[-1].get_weights()]
    weights = [np.zeros(shape, np.float32) for shape in tail_shapes]
    with pytest.raises(ConvertError, match=wanted) as caught:
        export(bundle, tmp_path / "out", weights, learned)
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_the_bundle_is_refused(tmp_path: Path) -> None:
    model, samples = small(one_constant_for_two)
    bundle = bundle_of(tmp_path, model, samples, "cut")
    weights = model.layers[-1].get_weights()
    with pytest.raises(ConvertError, match="shapes"):
        export(bundle, tmp_path / "out", weights[:1])
    spec = load_manifest(bundle).trainable
    with pytest.raises(ConvertError, match="0 weights, 'cut' of the bundle 16"):
        LearnedLayer.of({"bias": np.zeros(4)}, spec)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConvertError, match=r"thesis\.txt"):
        export(bundle, tmp_path / "mine", weights)
    (bundle / "head.keras").unlink()
    with pytest.raises(ConvertError, match=r"no head\.keras"):
        export(bundle, tmp_path / "out", weights)
    assert not (tmp_path / "out").exists()
    assert json.loads((bundle / "manifest.json").read_text())
