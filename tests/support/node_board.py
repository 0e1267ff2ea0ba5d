"""A whole node in C with its port and its sensor in Python: a board in this process, in virtual time.

The head has two ops: a copy (in Python), and the trainable layer. The recordings are the layer's inputs.
"""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from core import SOURCE, core_library
from ram_storage import RamStorage
from train_layer import ACTIVATIONS, KINDS
from train_reference import F, Layer, activation_range, quantize_multiplier

from cutlayer_converter.placement import align

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = (*sorted(SOURCE.glob("*.c")), *sorted((SOURCE / "kernels").glob("*.c")))
LIVE = 0xFFFFFFFF
PORT_ERROR = -200
SENSOR_ERROR = -300
SENSOR_TOUCHED = -301
SENSOR_WAITS = 2


@cache
def node_library(*defines: str) -> tuple[Any, Any]:
    return core_library(list(SOURCES), ["cutlayer/node.h"], defines=defines)


def pointwise_layer(
    rng: np.random.Generator,
    height: int,
    width: int,
    inputs: int,
    channels: int,
    activation: str = "relu",
) -> Layer:
    """A 1 x 1 convolution whose outputs fill their range."""
    input_scale, weight_scale = F(0.02), rng.uniform(0.005, 0.02, channels).astype(F)
    typical = float(input_scale) * 73 * 60 * float(weight_scale.mean()) * inputs**0.5
    return Layer(
        kind="conv2d",
        input_shape=(height, width, inputs),
        output_shape=(height, width, channels),
        kernel=(1, 1),
        stride=(1, 1),
        pad=(0, 0),
        depth_multiplier=1,
        input_scale=input_scale,
        input_zero_point=int(rng.integers(-20, 20)),
        output_scale=F(typical * 2 / 127),
        output_zero_point=-128 if activation != "none" else -7,
        activation=activation,
        weights=rng.integers(-127, 128, channels * inputs).astype(np.int8),
        bias=rng.integers(-2000, 2000, channels).astype(np.int32),
        weight_scale=weight_scale,
    )


class Clock:
    def __init__(self, now_ms: int = 2**32 - 5000) -> None:
        self.now_ms = now_ms  # wraps soon


class NodeBoard:
    """`received` is what the host wrote, `sent` what the board wrote; the test moves bytes between them.

    room: bytes that the port takes before it says "later".
    broken: reads and writes fail.
    sensor_bytes: that the sensor is lent. It fills all of them, and its next step fails with SENSOR_TOUCHED
        when somebody else has written there.
    on_capture: called in each step of the sensor; a code that it gives is what the sensor returns.
    ops: runs of the head's first op.
    storage: where saves go, when there are `storage_bytes`; it outlives `reset`.
    key: device_id and key that the guard was last given, with `keyed`; None for none.
    first_cut: the shallowest that a host may choose.
    rows: whether a convolution's smashed data is made row by row.
    defines: of the firmware's build.
    on_tick: called when the node asks for the time of its figures, before and after each piece of work.
    """

    def __init__(
        self,
        layer: Layer,
        recordings: np.ndarray,
        labels: list[int] | None = None,
        *,
        clock: Clock | None = None,
        receive_bytes: int = 8192,
        optimizer_max: int = 1,
        trainable: bool = True,
        sensor_steps: int = 2,
        sensor_bytes: int = 999,
        memory_bytes: int | None = None,
        master: int = 0,
        storage_bytes: int = 0,
        keyed: bool = False,
        first_cut: int = 0,
        rows: bool = True,
        defines: tuple[str, ...] = (),
        **medium: Any,
    ) -> None:
        self.ffi, self.lib = node_library(*defines)
        self.layer, self.recordings = layer, recordings
        self.labels = labels or [index % 10 for index in range(len(recordings))]
        self.clock = clock or Clock()
        self.sensor_steps = sensor_steps
        self.sensor_bytes = sensor_bytes
        self._lent: Any = None
        self._scribble = b""
        self._scribbles = random.Random(0)
        self.on_capture: Callable[[], int | None] = lambda: None
        self.received, self.sent = bytearray(), bytearray()
        self.receive_bytes = receive_bytes
        self.room = 1 << 30
        self.ops = 0
        self.broken = False
        self.ticks = 0
        self.on_tick: Callable[[], None] = lambda: None
        self._captured_steps = 0
        self._recording = 0
        self._keep: list[Any] = []
        self.model = self._model(optimizer_max, trainable, master, rows=rows and layer.kind == "conv2d")
        self.model.first_cut = first_cut
        self.bytes = int(self.lib.cl_node_bytes(self.model, sensor_bytes))
        size = self.bytes if memory_bytes is None else memory_bytes
        self._block = self.ffi.new("uint8_t[]", size + 16)
        address = int(self.ffi.cast("uintptr_t", self._block))
        self.memory = self._block + (-address % 16)
        self.storage = RamStorage(self.ffi, storage_bytes, **medium) if storage_bytes else None
        self.saver = self.ffi.new("struct cl_saver *")
        self.keys = self.ffi.new("struct cl_keys *")
        self.key: bytes | None = None
        self._set_key = self._callback("void(void *, const uint8_t *, const uint8_t *)", self._keep_key)
        self.config = self.ffi.new(
            "struct cl_node_config *",
            {
                "port": self._port(receive_bytes),
                "model": self.model,
                "sensor": self._sensor(),
                "saver": self.saver if self.storage else self.ffi.NULL,
                "keys": self.keys if keyed else self.ffi.NULL,
                "memory": self.memory,
                "memory_bytes": size,
            },
        )
        self.node = self.ffi.new("struct cl_node *")
        self.reset()

    def reset(self) -> None:
        """What a reset button does."""
        self.received.clear()
        if self.storage:
            self.lib.cl_saver_init(self.saver, self.storage.storage)
        if self.storage and self.config.keys:
            keys = self.ffi.new(
                "struct cl_keys_config *", {"storage": self.storage.storage, "set_key": self._set_key}
            )
            self.keys_result = int(self.lib.cl_keys_open(self.keys, keys))
        self.init_result = int(self.lib.cl_node_init(self.node, self.config))

    def step(self) -> int:
        return int(self.lib.cl_node_step(self.node))

    def run(self, steps_max: int = 100_000) -> int:
        """Steps until the node wants to wait. Returns the ms that it wants to."""
        for _ in range(steps_max):
            result = self.step()
            if result != 0:
                return result
        raise AssertionError(f"the node is still busy after {steps_max} steps")

    @property
    def state(self) -> str:
        name = self.ffi.string(self.ffi.cast("enum cl_state", self.node.session.state))
        return str(name).removeprefix("CL_STATE_")

    def master(self) -> np.ndarray:
        count = self.layer.weights.size + self.layer.channels
        return np.frombuffer(bytes(self.ffi.buffer(self.node.session.train.master, 4 * count)), np.float32)

    # --- what the node is made of ---

    def _hold(self, value: Any) -> Any:
        self._keep.append(value)
        return value

    def _callback(self, kind: str, function: Any) -> Any:
        return self._hold(self.ffi.callback(kind, function))

    def _array(self, kind: str, values: Any) -> Any:
        return self._hold(self.ffi.new(kind, np.asarray(values).reshape(-1).tolist()))

    def _new(self, kind: str, fields: dict[str, Any]) -> Any:
        return self._hold(self.ffi.new(kind, fields))

    def _port(self, receive_bytes: int) -> Any:
        return self._new(
            "struct cl_port *",
            {
                "read": self._callback("int32_t(void *, uint8_t *, uint32_t)", self._read),
                "write": self._callback("int32_t(void *, const uint8_t *, uint32_t)", self._write),
                "now_ms": self._callback("uint32_t(void *)", lambda _: self.clock.now_ms % 2**32),
                "ticks": self._callback("uint32_t(void *)", self._tick),
                "stack_bytes": self._callback("uint32_t(void *)", lambda _: 4321),
                "receive_bytes": receive_bytes,
                "board": self._hold(self.ffi.new("char[]", b"cffi")),
            },
        )

    def _sensor(self) -> Any:
        return self._new(
            "struct cl_sensor *",
            {
                "memory_bytes": self.sensor_bytes,
                "start": self._callback("int32_t(void *, uint32_t, void *)", self._start),
                "step": self._callback("int32_t(void *, int8_t *, uint32_t, int32_t *)", self._capture),
                "recording_count": len(self.recordings),
                "is_live": 0,
            },
        )

    def _read(self, _: Any, data: Any, capacity: int) -> int:
        if self.broken:
            return PORT_ERROR
        count = min(capacity, len(self.received))
        self.ffi.memmove(data, bytes(self.received[:count]), count)
        del self.received[:count]
        return count

    def _write(self, _: Any, data: Any, count: int) -> int:
        if self.broken:
            return PORT_ERROR
        taken = min(count, self.room)
        self.room -= taken
        self.sent += bytes(self.ffi.buffer(data, taken))
        return taken

    def _keep_key(self, _: Any, device_id: Any, key: Any) -> None:
        given = (bytes(self.ffi.buffer(device_id, 8)) + bytes(self.ffi.buffer(key, 32))) if key else None
        self.key = given

    def _tick(self, _: Any) -> int:
        self.ticks += 1
        self.on_tick()
        return self.ticks

    def _write_all_over(self) -> None:
        self._scribble = self._scribbles.randbytes(self.sensor_bytes)
        self.ffi.memmove(self._lent, self._scribble, self.sensor_bytes)

    def _start(self, _: Any, recording: int, memory: Any) -> int:
        self._lent = memory
        self._write_all_over()
        if recording >= len(self.recordings):
            return SENSOR_ERROR
        self._recording, self._captured_steps = recording, 0
        return 0

    def _capture(self, _: Any, data: Any, count: int, label: Any) -> int:
        if bytes(self.ffi.buffer(self._lent, self.sensor_bytes)) != self._scribble:
            return SENSOR_TOUCHED
        if (code := self.on_capture()) is not None:
            return code
        self._captured_steps += 1
        if self._captured_steps < self.sensor_steps:
            return 0
        raw = self.recordings[self._recording].astype(np.int8).tobytes()
        assert len(raw) == count
        self.ffi.memmove(data, raw, count)
        self._write_all_over()
        label[0] = self.labels[self._recording]
        return 1

    def _copy(self, _params: Any, source: Any, _second: Any, target: Any, _scratch: Any) -> None:
        self.ops += 1
        self.ffi.memmove(target, source, int(np.prod(self.layer.input_shape)))

    def _model(self, optimizer_max: int, trainable: bool, master: int, *, rows: bool) -> Any:
        layer = self.layer
        inputs, outputs = int(np.prod(layer.input_shape)), int(np.prod(layer.output_shape))
        copied, smashed = align(inputs), 2 * align(inputs)
        gradient = smashed + align(outputs // layer.output_shape[0] if rows else outputs)
        low, high = activation_range(layer.activation, layer.output_scale, layer.output_zero_point)
        pairs = [
            quantize_multiplier(float(layer.input_scale) * float(scale) / float(layer.output_scale))
            for scale in layer.weight_scale
        ]
        params = self._new(
            "struct cl_conv_params *",
            {
                "input": layer.input_shape,
                "output": layer.output_shape,
                "kernel_height": layer.kernel[0],
                "kernel_width": layer.kernel[1],
                "stride_height": layer.stride[0],
                "stride_width": layer.stride[1],
                "pad_top": layer.pad[0],
                "pad_left": layer.pad[1],
                "depth_multiplier": layer.depth_multiplier,
                "input_zero_point": layer.input_zero_point,
                "output_zero_point": layer.output_zero_point,
                "activation_min": low,
                "activation_max": high,
                "weights": self._array("int8_t[]", layer.weights),
                "bias": self._array("int32_t[]", layer.bias),
                "multiplier": self._array("int32_t[]", [pair[0] for pair in pairs if pair]),
                "shift": self._array("int8_t[]", [pair[1] for pair in pairs if pair]),
            },
        )
        kernel = getattr(self.lib, {"conv2d": "cl_conv2d", "dense": "cl_dense"}[layer.kind])
        copy = self._callback(
            "void(const void *, const int8_t *, const int8_t *, int8_t *, int8_t *)", self._copy
        )
        last = {"kernel": kernel, "params": params, "input": copied, "output": smashed}
        ops = self._hold(self.ffi.new("struct cl_op[]", [{"kernel": copy, "output": copied}, last]))
        shallow = {"op_count": 1, "scale": float(layer.input_scale), "zero_point": layer.input_zero_point}
        shallow |= {"shape": layer.input_shape, "offset": copied, "activation_min": -128}
        shallow |= {"activation_max": 127}
        deep = {"op_count": 2, "scale": float(layer.output_scale), "zero_point": layer.output_zero_point}
        deep |= {"shape": layer.output_shape, "offset": smashed, "activation_min": low}
        deep |= {"activation_max": high}
        cuts = self._hold(self.ffi.new("struct cl_cut[]", [shallow, deep]))
        layer_fields = {
            "kind": KINDS.index(layer.kind),
            "optimizer_max": optimizer_max,
            "params": params,
            "weight_scale": self._array("float[]", layer.weight_scale),
            "input_scale": float(layer.input_scale),
            "output_scale": float(layer.output_scale),
            "weight_count": layer.weights.size,
            "gradient_offset": gradient,
            "channel_count": layer.channels,
            "activation": ACTIVATIONS.index(layer.activation),
            "master": master,
        }
        fields = self._new("struct cl_trainable *", layer_fields)
        head = {
            "ops": ops,
            "cuts": cuts,
            "op_count": 2,
            "cut_count": 2,
            "input_shape": layer.input_shape,
            "input_offset": 0,
            "sensor_offset": copied,
            "input_scale": float(layer.input_scale),
            "input_zero_point": layer.input_zero_point,
            "arena_bytes": gradient + align(self.lib.cl_train_gradient_bytes(fields)),
        }
        if rows:
            head["rows"] = self.lib.cl_conv2d_rows
        model: dict[str, Any] = {"id": bytes(range(32)), "head": head}
        if trainable:
            model["trainable"] = fields
        return self._new("struct cl_model *", model)
