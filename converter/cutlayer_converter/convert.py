"""Converts a Keras model into a bundle: cut, quantize, compile, check the budget, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutlayer_boards.spec import INSTRUCTION_SETS
from cutlayer_converter import bundle
from cutlayer_converter.arena import plan
from cutlayer_converter.budget import does_not_fit
from cutlayer_converter.calibration import load_calibration
from cutlayer_converter.cut import load_model, split
from cutlayer_converter.emit import emit
from cutlayer_converter.errors import ConvertError
from cutlayer_converter.folder import OTHER_FOLDER_HINT, check_replaceable, whole_folder
from cutlayer_converter.head import Head, compile_head
from cutlayer_converter.identity import model_id
from cutlayer_converter.manifest import make_manifest
from cutlayer_converter.memory import over_budget
from cutlayer_converter.quiet import quiet

if TYPE_CHECKING:
    from cutlayer_boards.spec import BoardSpec
    from cutlayer_converter.bundle import Manifest, Optimizer
    from cutlayer_converter.trainable import Master

Report = Callable[[str], None]


def convert(
    model_path: Path | str,
    cut: str,
    board: BoardSpec,
    data_path: Path | str,
    out: Path | str,
    *,
    optimizer: Optimizer = "adam",
    master: Master = "float32",
    class_names: Sequence[str] | None = None,
    shallowest_cut: str | None = None,
    verify: bool = False,
    report: Report = lambda _: None,
) -> Manifest:
    """Cuts a Keras model after layer `cut` and writes the bundle for `board` into the folder `out`.

    Args:
        model_path: A .keras file.
        cut: Name of the layer whose output is the smashed data.
        board: The budget.
        data_path: "FILE.npz" or "FILE.npz:KEY", see `load_calibration`.
        out: Made, or replaced when it holds a bundle.
        optimizer: What to plan memory for; "adam" allows SGD too.
        master: What the board keeps master weights and moments as; "bfloat16" takes half the RAM.
        class_names: Of the tail's outputs.
        shallowest_cut: The earliest layer that a host may have the head stop after; None: only after `cut`.
        verify: Compare the compiled head with TensorFlow Lite Micro before anything is written.
        report: Called with the name of each stage as it begins.

    Raises:
        ConvertError: See its message; nothing has been written then.
    """
    folder = Path(out)
    check_output(folder)
    report("load")
    model = load_model(Path(model_path))
    samples = load_calibration(data_path, tuple(model.input_shape[1:]))
    names = _class_names(class_names, model)
    report("quantize")
    head = compile_head(split(model, cut), samples, optimizer, board, master, shallowest_cut)
    if any(over_budget(head.memory, board)):
        report("over the budget: look for what would fit")
        raise does_not_fit(model, head, samples, optimizer, board)
    if verify:
        from cutlayer_converter.verify import verify as compare

        report("verify")
        compare(head.tflite, first_cut=head.first_cut)
    identity = model_id(head.graph, head.split.tail, optimizer=optimizer, master=master)
    manifest = make_manifest(head, board, identity, names, optimizer)
    report("write")
    _write(folder, head, manifest)
    return manifest


def check_output(folder: Path) -> None:
    """Checks that `folder` can be made, or holds nothing but a bundle.

    Raises:
        ConvertError: It holds something else.
    """
    parts = (bundle.MANIFEST, bundle.HEAD, bundle.FLOAT_HEAD, bundle.TAIL, bundle.FIRMWARE)
    present = check_replaceable(folder, parts, "a bundle")
    if not present:
        return
    if bundle.MANIFEST not in present:
        raise ConvertError(f"{folder}: holds no manifest; nothing is overwritten", OTHER_FOLDER_HINT)
    if '"bundle_version"' not in (folder / bundle.MANIFEST).read_text(encoding="utf-8", errors="replace"):
        message = f"{folder}: its {bundle.MANIFEST} is no bundle's; nothing is overwritten"
        raise ConvertError(message, OTHER_FOLDER_HINT)


def _class_names(names: Sequence[str] | None, model: Any) -> tuple[str, ...] | None:
    if names is None:
        return None
    count = model.output_shape[-1]
    if len(names) != count:
        raise ConvertError(
            f"{len(names)} class names for the model's {count} outputs", "give one name an output, in order"
        )
    if len(set(names)) != len(names) or not all(names):
        raise ConvertError("the class names are not all different, or one is empty", "mend --classes")
    return tuple(names)


def _write(folder: Path, head: Head, manifest: Manifest) -> None:
    with whole_folder(folder) as made:
        (made / bundle.FIRMWARE).mkdir()
        (made / bundle.HEAD).write_bytes(head.tflite)
        with quiet():
            head.split.head.save(made / bundle.FLOAT_HEAD)
            head.split.tail.save(made / bundle.TAIL)
        _emit(head, manifest, made / bundle.FIRMWARE)
        (made / bundle.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def _emit(head: Head, manifest: Manifest, folder: Path) -> None:
    """The head in C: for each instruction set, and for the interpreter if the board has it."""
    write = partial(
        emit,
        head.graph,
        model_id=bytes.fromhex(manifest.model_id),
        trainable=head.trainable,
        first_cut=manifest.first_cut,
    )
    for instruction_set in INSTRUCTION_SETS:
        out = folder if instruction_set == "portable" else folder / instruction_set
        out.mkdir(exist_ok=True)
        write(plan(head.graph, instruction_set, trainable_end=True, first_cut=head.first_cut), out=out)
    if head.interpreted:
        (folder / bundle.TFLM).mkdir()
        write(head.plan, out=folder / bundle.TFLM, interpreted=head.interpreted)
