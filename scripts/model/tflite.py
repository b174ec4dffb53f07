"""Reads a TFLite file into tensors and operators.

Field indices and codes: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from flatbuffer import Table

ADD, CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE = 0, 3, 4, 6
NO_ACTIVATION, RELU6 = 0, 3
SAME_PADDING = 0

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: "list[int]"
    """None for a computed tensor."""
    values: Optional[np.ndarray]


@dataclass(frozen=True)
class Operator:
    code: int
    inputs: "list[int]"
    outputs: "list[int]"
    """For CONV_2D and DEPTHWISE_CONV_2D; the same in both directions."""
    stride: int = 1
    activation: int = NO_ACTIVATION


@dataclass(frozen=True)
class Graph:
    tensors: "list[Tensor]"
    operators: "list[Operator]"
    input: int

    def constant(self, index: int) -> np.ndarray:
        """Values of a stored tensor; follows the DEQUANTIZE of fp16 weights."""
        for operator in self.operators:
            if operator.code == DEQUANTIZE and operator.outputs == [index]:
                return self.constant(operator.inputs[0])
        values = self.tensors[index].values
        if values is None:
            raise ValueError(f"tensor {self.tensors[index].name} is computed, not stored")
        return values

    def trunk(self, last: str) -> "list[Operator]":
        """The operators, in order, that lead to the output whose name begins with `last`."""
        ends = [o for o in self.operators if self.tensors[o.outputs[0]].name.startswith(last)]
        if len(ends) != 1:
            raise ValueError(f"{len(ends)} operators end in {last}, expected one")
        wanted, kept = {ends[0].outputs[0]}, []
        for operator in reversed(self.operators):
            if operator.code != DEQUANTIZE and operator.outputs[0] in wanted:
                kept.append(operator)
                # Weights and biases are constants; only activations lead further back.
                wanted.update(operator.inputs if operator.code == ADD else operator.inputs[:1])
        return kept[::-1]


def read(data: bytes) -> Graph:
    if data[4:8] != b"TFL3":
        raise ValueError("not a TFLite file")
    model = Table.root(data)
    # Codes above 127 moved to a wider field; the larger of both is the code.
    codes = [max(code.scalar(0, "b"), code.scalar(3, "i")) for code in model.tables(1)]
    graph = model.tables(2)[0]
    buffers = model.tables(4)
    tensors = [_tensor(table, buffers) for table in graph.tables(0)]
    operators = [_operator(table, codes) for table in graph.tables(3)]
    return Graph(tensors, operators, graph.ints(1)[0])


def _tensor(table: Table, buffers: "list[Table]") -> Tensor:
    shape, dtype = table.ints(0), DTYPES[table.scalar(1, "b")]
    stored = buffers[table.scalar(2, "I")].bytes(0)
    values = np.frombuffer(stored, dtype).reshape(shape) if stored else None
    return Tensor(table.string(3), shape, values)


def _operator(table: Table, codes: "list[int]") -> Operator:
    code, options = codes[table.scalar(0, "I")], table.table(4)
    inputs, outputs = table.ints(1), table.ints(2)
    if code == ADD:
        activation = options.scalar(0, "b") if options else NO_ACTIVATION
        return Operator(code, inputs, outputs, activation=activation)
    if code not in (CONV_2D, DEPTHWISE_CONV_2D):
        return Operator(code, inputs, outputs)
    width, height = options.scalar(1, "i"), options.scalar(2, "i")
    if options.scalar(0, "b") != SAME_PADDING or width != height:
        raise ValueError("only SAME padding with one stride is known here")
    if code == DEPTHWISE_CONV_2D and options.scalar(3, "i") != 1:
        raise ValueError("only a depth multiplier of 1 is known here")
    activation = options.scalar(4 if code == DEPTHWISE_CONV_2D else 3, "b")
    return Operator(code, inputs, outputs, width, activation)


def same_padding(size: int, kernel: int, stride: int) -> "tuple[int, int]":
    """TensorFlow's SAME: output ceil(size / stride); the odd pixel is added at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
