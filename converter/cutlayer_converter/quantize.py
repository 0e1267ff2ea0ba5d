"""The head as a full-int8 TFLite model, through TensorFlow's own converter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cutlayer_converter.errors import ConvertError
from cutlayer_converter.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

# More calibration samples hardly move a range and cost a float run of the head each.
CALIBRATION_SAMPLES_MAX = 512


def quantize_head(head: Any, samples: NDArray[np.float32]) -> bytes:
    """Converts the Keras model `head` to .tflite bytes.

    Weights are int8 per output channel (fully connected layers too), activations int8 per tensor, input and
    output int8, batch 1.

    Args:
        head: A Keras model of one input and one output.
        samples: Representative inputs, float32 [n, ...]; of more than 512 an even choice is used.

    Raises:
        ConvertError: TensorFlow cannot express a layer in int8.
    """
    import tensorflow as tf

    step = max(1, -(-len(samples) // CALIBRATION_SAMPLES_MAX))

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for i in range(0, len(samples), step):
            yield [samples[i : i + 1]]

    signature = [tf.TensorSpec((1, *samples.shape[1:]), tf.float32)]
    graph = tf.function(lambda x: head(x, training=False), input_signature=signature)
    logger = logging.getLogger("absl")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with quiet():
            # Without a trackable object the converter freezes the graph: it does not find Keras 3 variables.
            converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()])
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
            return bytes(converter.convert())
    except Exception as error:  # the converter raises plain Exception, RuntimeError, ConverterError ...
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line.lower()), lines[0] if lines else repr(error))
        kinds = sorted({type(layer).__name__ for layer in head.layers} - {"InputLayer", *_PLAIN})
        suspects = f" (the head has {', '.join(kinds)})" if kinds else ""
        raise ConvertError(
            f"TensorFlow cannot convert the head to int8{suspects}: {reason[:200]}",
            "cut before the layer in question, or replace it",
        ) from error
    finally:
        logger.setLevel(level)


# Layers that always convert.
_PLAIN = (
    *("Conv2D", "DepthwiseConv2D", "Dense", "BatchNormalization", "ReLU", "AveragePooling2D", "MaxPooling2D"),
    *(
        "GlobalAveragePooling2D",
        "Add",
        "Reshape",
        "Flatten",
        "ZeroPadding2D",
        "Softmax",
        "Activation",
        "Dropout",
    ),
)
