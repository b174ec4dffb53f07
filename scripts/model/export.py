"""Writes the trunk of the published network as ONNX: one image as input, one embedding as output.

input  `image`      uint8 [1, 224, 224, 3], RGB, 0..255; normalised to [-1, 1] inside the graph
output `embedding`  float32 [1, 1280], global average of the last trunk layer, 0..6

The output is deterministic: nodes in the order of the source, raw weights.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tflite

SIZE_PX = 224
LAST_LAYER = "FeatureExtractor/MobilenetV2/Conv_1/Relu6"
OPSET, IR_VERSION = 13, 7


class Writer:
    """Collects nodes and weights. The weights stay in fp16, as published."""

    def __init__(self, stored_as: type = np.float16):
        self.nodes, self.weights = [], []
        self._stored_as = stored_as

    def node(self, kind: str, inputs: "list[str]", output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: np.ndarray, name: str) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, values: np.ndarray, name: str) -> str:
        """Runtimes convert these to fp32 once, when they open the model: half the bytes, the same numbers."""
        if self._stored_as == np.float32:
            return self.constant(values.astype(np.float32), name)
        stored = self.constant(values.astype(np.float16), f"{name}.fp16")
        return self.node("Cast", [stored], name, to=TensorProto.FLOAT)


def trunk_onnx(published: bytes, stored_as: type = np.float16) -> bytes:
    graph, writer = tflite.read(published), Writer(stored_as)
    operators = graph.trunk(LAST_LAYER)
    scale = writer.constant(np.float32(1 / 127.5), "scale")
    one = writer.constant(np.float32(1), "one")
    zero, six = writer.constant(np.float32(0), "zero"), writer.constant(np.float32(6), "six")
    writer.node("Transpose", ["image"], "planes", perm=[0, 3, 1, 2])
    writer.node("Cast", ["planes"], "pixels", to=TensorProto.FLOAT)
    writer.node("Mul", ["pixels", scale], "scaled")
    writer.node("Sub", ["scaled", one], "normalized")

    names, sizes = {graph.input: "normalized"}, {graph.input: SIZE_PX}
    for index, operator in enumerate(operators):
        name = f"l{index:02d}"
        source, target = operator.inputs[0], operator.outputs[0]
        relu6 = operator.activation == tflite.RELU6
        linear = f"{name}.linear" if relu6 else name
        if operator.code == tflite.ADD:
            writer.node("Add", [names[i] for i in operator.inputs], linear)
            sizes[target] = sizes[source]
        else:
            depthwise = operator.code == tflite.DEPTHWISE_CONV_2D
            kernel = graph.constant(operator.inputs[1]).transpose(3, 0, 1, 2) if depthwise else (
                graph.constant(operator.inputs[1]).transpose(0, 3, 1, 2)
            )
            before, after = tflite.same_padding(sizes[source], kernel.shape[2], operator.stride)
            weight = writer.weight(kernel, f"{name}.weight")
            bias = writer.weight(graph.constant(operator.inputs[2]), f"{name}.bias")
            writer.node(
                "Conv",
                [names[source], weight, bias],
                linear,
                kernel_shape=list(kernel.shape[2:]),
                strides=[operator.stride] * 2,
                pads=[before, before, after, after],
                group=kernel.shape[0] if depthwise else 1,
            )
            sizes[target] = -(-sizes[source] // operator.stride)
        if relu6:
            writer.node("Clip", [linear, zero, six], name)
        names[target] = name
    writer.node("GlobalAveragePool", [names[operators[-1].outputs[0]]], "average")
    writer.node("Flatten", ["average"], "embedding", axis=1)
    return _serialize(writer)


def _serialize(writer: Writer) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE_PX, SIZE_PX, 3])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 1280])
    graph = helper.make_graph(writer.nodes, "trunk", [image], [embedding], writer.weights)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="swellsight-edge")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
