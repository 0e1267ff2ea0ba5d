"""Makes the manifest of a compiled head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutlayer_converter.bundle import BUNDLE_VERSION, CutSpec, InputSpec, Manifest, TrainableLayer
from cutlayer_converter.errors import ConvertError

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.arena import ArenaPlan
    from cutlayer_converter.bundle import Optimizer
    from cutlayer_converter.cut import Split
    from cutlayer_converter.graph import Tensor
    from cutlayer_converter.head import Head
    from cutlayer_converter.trainable import TrainableSpec


def make_manifest(
    head: Head,
    board: BoardSpec,
    identity: bytes,
    names: tuple[str, ...] | None,
    optimizer: Optimizer,
) -> Manifest:
    """The manifest of a compiled head."""
    source = head.graph.input
    cuts = [
        CutSpec(
            layer=layer,
            op_count=cut.op_count,
            shape=cut.tensor.shape[1:],
            scale=float(cut.tensor.scale),
            zero_point=cut.tensor.zero_point,
            activation_min=cut.activation_min,
            activation_max=cut.activation_max,
        )
        for cut, layer in zip(head.plan.cuts, _cut_layers(head.split, head.plan), strict=True)
    ]
    return Manifest(
        bundle_version=BUNDLE_VERSION,
        model_id=identity.hex(),
        board=board.name,
        cut_layer=head.split.layer,
        input=InputSpec(source.shape[1:], float(source.scale), source.zero_point),
        cuts=tuple(cuts),
        first_cut=head.first_cut,
        trainable=None if head.trainable is None else _trainable_layer(head, head.trainable),
        untrainable_reason=head.untrainable_reason,
        class_names=names,
        optimizer=optimizer,
        memory=head.memory,
        ram_budget_bytes=board.ram_bytes,
        flash_budget_bytes=board.flash_bytes,
    )


def find_first_cut(split: Split, plan: ArenaPlan, layer: str | None) -> int:
    """The index of the cut after `layer`; None: of the deepest.

    Raises:
        ConvertError: The compiled head does not stop there.
    """
    names = _cut_layers(split, plan)
    if layer is None:
        return len(names) - 1
    if layer not in names:
        raise ConvertError(
            f"the compiled head does not stop after {layer!r}",
            f"name one of these with --shallowest-cut: {', '.join(names)}",
        )
    return names.index(layer)


def _cut_layers(split: Split, plan: ArenaPlan) -> list[str]:
    """The Keras layers that the compiled head can stop after."""
    layers = [layer.name for layer in split.head.layers]
    return [*(_layer_name(cut.tensor, layers) for cut in plan.cuts[:-1]), split.layer]


def _trainable_layer(head: Head, spec: TrainableSpec) -> TrainableLayer:
    params = head.plan.steps[-1].lowered.params
    # As cl_train_rows_max: a weight gets at most 128 * max|a - zero_point| per row of the gradient.
    zero_point = params["input_zero_point"]
    rows_max = (2**31 - 1) // (128 * max(127 - zero_point, zero_point + 128))
    return TrainableLayer(
        layer=_weighted_layer(head.split.head),
        kind=spec.kind,
        weight_shape=spec.weight_shape,
        channel_count=spec.channel_count,
        input_scale=spec.input_scale,
        activation=spec.activation,
        samples_max=rows_max // (params["output"][0] * params["output"][1]),
    )


def _weighted_layer(head: Any) -> str:
    """The last layer of the Keras model with a kernel: the compiled head ends with it."""
    for layer in reversed(head.layers):
        if any("kernel" in weight.path.rsplit("/", 1)[-1] for weight in layer.weights):
            return str(layer.name)
    return str(head.layers[-1].name)


def _layer_name(tensor: Tensor, layers: list[str]) -> str:
    """The Keras layer that made a tensor of head.tflite.

    TensorFlow names it SCOPE/LAYER/OP, of fused layers the last one first, joined by ";"; it may add _1 to a
    layer's name.
    """
    for segment in tensor.name.split(";")[0].split("/"):
        for name in (segment.removesuffix("_1"), segment):
            if name in layers:
                return name
    return tensor.name
