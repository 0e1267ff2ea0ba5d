"""Whole heads: read, plan, emit, compile, run; every byte equals TensorFlow Lite Micro's, at every cut."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from baseline import NAMES, baseline
from core import INCLUDE, SOURCE
from fused import fused_wherever_possible
from head_runner import check_against_tflm
from hypothesis import given
from kernel_cases import cases
from random_head import convolution_chains, random_heads

from cutlayer_converter.arena import plan
from cutlayer_converter.emit import emit
from cutlayer_converter.graph import read_graph
from cutlayer_converter.verify import NativeHead, NativeSet, compile_native, verify

if TYPE_CHECKING:
    from pathlib import Path


def compile_head(
    name: str, folder: Path, instruction_set: NativeSet = "portable", first_cut: int = 0
) -> NativeHead:
    graph = read_graph(baseline(name).tflite)
    arena_plan = plan(graph, instruction_set, first_cut=first_cut)
    emit(graph, arena_plan, model_id=bytes(32), trainable=None, out=folder)
    return compile_native(folder, graph, arena_plan, folder)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_the_baseline(name: str, tmp_path: Path) -> None:
    model = baseline(name)
    head = compile_head(name, tmp_path)
    for sample, expected in zip(model.inputs, model.outputs, strict=True):
        np.testing.assert_array_equal(head.run(sample).reshape(-1), expected.reshape(-1))


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_equals_tflm(name: str) -> None:
    result = verify(baseline(name).tflite, samples=4, seed=NAMES.index(name))
    assert result.cuts >= 1
    assert result.byte_count > 0


def test_running_in_pieces_is_running_at_once(tmp_path: Path) -> None:
    head = compile_head("kws", tmp_path)
    sample = baseline("kws").inputs[0]
    whole = head.run(sample)
    head.run(sample, head.plan.cuts[3])
    for index in range(head.plan.cuts[3].op_count, len(head.plan.steps)):
        assert head.run_range(index, index + 1) == index + 1
    end = head.plan.cuts[-1]
    np.testing.assert_array_equal(head.arena[end.offset : end.offset + end.tensor.count], whole.reshape(-1))


def test_a_range_outside_the_head_is_refused(tmp_path: Path) -> None:
    head = compile_head("rnd_head1", tmp_path)
    assert head.run_range(0, len(head.plan.steps) + 1) == -1
    assert head.run_range(2, 1) == -1
    assert head.run_range(2, 2) == 2


def test_a_last_op_that_makes_rows_does_not_run_whole(tmp_path: Path) -> None:
    head = compile_head("rnd_head0", tmp_path)
    assert head.plan.rows == "cl_conv2d_rows"
    assert head.plan.arena_bytes < head.plan.cuts[-1].tensor.count
    assert head.run_range(0, 0) == 0
    assert head.run_range(0, len(head.plan.steps)) == -1


MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "cutlayer_model.h"
int main(void)
{
    const struct cl_head *head = &cutlayer_model.head;
    // On the heap, so that the sanitizer sees both ends of the arena.
    int8_t *arena = malloc(head->arena_bytes);
    uint32_t count = cl_shape_count(head->input_shape);
    while (fread(arena + head->input_offset, 1, count, stdin) == count) {
        if (cl_head_run(head, arena, 0, cl_head_whole_ops(head)) < 0) {
            return 1;
        }
        for (uint32_t first = 0; first < CUTLAYER_MODEL_SMASHED_COUNT;) {
            const int8_t *row;
            const int32_t made = cl_head_output(head, arena, first, &row);
            if (made < 0) {
                return 1;
            }
            fwrite(row, 1, (size_t)made, stdout);
            first += (uint32_t)made;
        }
    }
    free(arena);
    return 0;
}
"""


@pytest.mark.parametrize("instruction_set", get_args(NativeSet))
@pytest.mark.parametrize("name", ["kws", "resnet", "ad", "rnd_head0", "vww"])
def test_sanitizers_find_nothing(name: str, instruction_set: NativeSet, tmp_path: Path) -> None:
    model = baseline(name)
    head = compile_head(name, tmp_path, instruction_set, first_cut=-1)
    assert name != "vww" or any(step.lowered.kernel == "cl_fused" for step in head.plan.steps)
    (tmp_path / "main.c").write_text(MAIN)
    program = tmp_path / "program"
    sources = [tmp_path / "main.c", tmp_path / "cutlayer_model.c", SOURCE / "head.c"]
    sources += sorted((SOURCE / "kernels").rglob("*.c"))
    flags = ["-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{path}" for path in (INCLUDE, SOURCE, tmp_path)]
    subprocess.run(["gcc", *flags, *includes, "-o", program, *sources], check=True)
    done = subprocess.run([program], input=model.inputs.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == model.outputs.tobytes()


@cases
@given(random_heads())
def test_random_heads_equal_tflm_at_every_cut(model: tuple[bytes, list[np.ndarray[Any, Any]]]) -> None:
    check_against_tflm(*model)


@cases
@given(convolution_chains())
def test_fused_convolutions_equal_tflm(model: tuple[bytes, list[np.ndarray[Any, Any]]]) -> None:
    with fused_wherever_possible():
        check_against_tflm(*model, first_cut=-1)


def test_convolutions_are_fused_where_that_saves_memory_and_no_cut_is_lost() -> None:
    graph = read_graph(baseline("vww").tflite)
    whole, fused, kept = (plan(graph, first_cut=cut) for cut in (0, -1, 2))
    assert fused.arena_bytes < whole.arena_bytes == kept.arena_bytes
    assert [cut.op_count for cut in fused.cuts].count(0) == len(whole.steps) - len(fused.steps) > 0
    assert [cut.tensor.name for cut in fused.cuts] == [cut.tensor.name for cut in whole.cuts]
    lost = [index for index, cut in enumerate(fused.cuts) if cut.op_count == 0]
    assert lost == [2]
    assert all(cut.op_count for cut in kept.cuts)
