"""Runs the published TFLite graph in torch: the reference for the exported model.

It shares only the file reader with the export: layout, padding and arithmetic are those of torch.

    /usr/bin/python3 scripts/model/reference.py --cache .cache/model IN OUT

IN contains images of 224 * 224 * 3 bytes RGB each; OUT gets 1280 float32 values for each.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import tflite
from export import LAST_LAYER, SIZE_PX
from fetch import published_model


class Reference:
    def __init__(self, published: bytes):
        self._graph = tflite.read(published)
        self._operators = self._graph.trunk(LAST_LAYER)

    def embedding(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [224, 224, 3] RGB -> float32 [1280]."""
        pixels = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
        values = {self._graph.input: pixels / 127.5 - 1}
        with torch.no_grad():
            for operator in self._operators:
                values[operator.outputs[0]] = self._run(operator, values)
            last = values[self._operators[-1].outputs[0]]
            return last.mean(dim=(2, 3))[0].numpy()

    def _run(self, operator: tflite.Operator, values: dict) -> torch.Tensor:
        if operator.code == tflite.ADD:
            result = values[operator.inputs[0]] + values[operator.inputs[1]]
        else:
            result = self._convolve(operator, values[operator.inputs[0]])
        return F.relu6(result) if operator.activation == tflite.RELU6 else result

    def _convolve(self, operator: tflite.Operator, source: torch.Tensor) -> torch.Tensor:
        weight = torch.from_numpy(self._graph.constant(operator.inputs[1]).astype(np.float32))
        bias = torch.from_numpy(self._graph.constant(operator.inputs[2]).astype(np.float32))
        depthwise = operator.code == tflite.DEPTHWISE_CONV_2D
        weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
        rows = tflite.same_padding(source.shape[2], weight.shape[2], operator.stride)
        columns = tflite.same_padding(source.shape[3], weight.shape[3], operator.stride)
        padded = F.pad(source, columns + rows)
        groups = source.shape[1] if depthwise else 1
        return F.conv2d(padded, weight, bias, operator.stride, groups=groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("embeddings", type=Path)
    arguments = parser.parse_args()
    pictures = np.fromfile(arguments.pictures, np.uint8).reshape(-1, SIZE_PX, SIZE_PX, 3)
    reference = Reference(published_model(arguments.cache))
    np.stack([reference.embedding(p) for p in pictures]).tofile(arguments.embeddings)


if __name__ == "__main__":
    main()
