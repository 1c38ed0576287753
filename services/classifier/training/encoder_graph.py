"""The fine-tuned encoder as an ONNX file with weights of eight bits.

The graph is written out here instead of exported from the training framework: it reads one text without padding, so it
needs no mask, and the same weights make the same file.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from services.classifier.deep import THRESHOLDS
from services.classifier.heads import CATEGORIES

LAYERS, WIDTH, ATTENTION_HEADS = 6, 384, 12
HEAD_WIDTH = WIDTH // ATTENTION_HEADS
EPSILON = 1e-12
# What the quantization adds to the name of a weight that it replaces.
QUANTIZED = "_quantized"
# With LayerNormalization; read by every ONNX Runtime since 1.13.
OPSET, IR = 17, 8

Array = NDArray[Any]


class _Graph:
    """Nodes and constants as they are added; values are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Array, name: str = "") -> str:
        name = name or f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def shape(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def write(weights: Mapping[str, Array], path: Path) -> None:
    """Write the graph of an encoder's weights, named as `finetune.initial` names them."""
    graph = _Graph()
    x = _embed(graph, weights)
    for number in range(LAYERS):
        x = _layer(graph, weights, number, x)
    # Mean and maximum over the tokens, side by side.
    pooled = graph.add(
        "Concat",
        graph.add("ReduceMean", x, axes=[1], keepdims=0),
        graph.add("ReduceMax", x, axes=[1], keepdims=0),
        axis=1,
    )
    outputs = {"levels": THRESHOLDS, "categories": len(CATEGORIES)}
    for name in outputs:
        _linear(graph, weights, name, pooled, output=name)
    made = helper.make_graph(
        graph.nodes,
        "encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in outputs.items()],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.onnx"
        onnx.save(model, full)
        quantize_dynamic(full, path, per_channel=True, weight_type=QuantType.QInt8)


def _linear(graph: _Graph, weights: Mapping[str, Array], name: str, x: str, output: str = "") -> str:
    weight, bias = f"{name}.weight", f"{name}.bias"
    product = graph.add("MatMul", x, graph.constant(weights[weight].T, weight))
    return graph.add("Add", product, graph.constant(weights[bias], bias), name=output)


def _normalize(graph: _Graph, weights: Mapping[str, Array], name: str, x: str) -> str:
    scale, bias = (graph.constant(weights[own], own) for own in (f"{name}.weight", f"{name}.bias"))
    return graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def _embed(graph: _Graph, weights: Mapping[str, Array]) -> str:
    words = graph.add("Gather", graph.constant(weights["words"], "words"), "ids")
    length = graph.add("Slice", graph.add("Shape", "ids"), graph.shape(1), graph.shape(2))
    positions = graph.add("Slice", graph.constant(weights["positions"], "positions"), graph.shape(0), length)
    return _normalize(graph, weights, "embedded", graph.add("Add", words, positions))


def _layer(graph: _Graph, weights: Mapping[str, Array], number: int, x: str) -> str:
    split = graph.shape(0, 0, ATTENTION_HEADS, HEAD_WIDTH)

    def heads(name: str, order: list[int]) -> str:
        return graph.add(
            "Transpose",
            graph.add("Reshape", _linear(graph, weights, f"{number}.{name}", x), split),
            perm=order,
        )

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    likeness = graph.add("Mul", graph.add("MatMul", query, key), graph.scalar(HEAD_WIDTH**-0.5))
    attended = graph.add("MatMul", graph.add("Softmax", likeness, axis=-1), value)
    joined = graph.add(
        "Reshape", graph.add("Transpose", attended, perm=[0, 2, 1, 3]), graph.shape(0, 0, WIDTH)
    )
    added = graph.add("Add", x, _linear(graph, weights, f"{number}.output", joined))
    x = _normalize(graph, weights, f"{number}.attended", added)
    wide = _linear(graph, weights, f"{number}.widen", x)
    # GELU by the error function, as the encoder was trained with.
    root = graph.add("Div", wide, graph.scalar(2**0.5))
    gate = graph.add("Add", graph.add("Erf", root), graph.scalar(1))
    gelu = graph.add("Mul", graph.add("Mul", wide, gate), graph.scalar(0.5))
    added = graph.add("Add", x, _linear(graph, weights, f"{number}.narrow", gelu))
    return _normalize(graph, weights, f"{number}.fed", added)


def read(path: Path) -> dict[str, Array]:
    """The weights of a file that `write` made, as near as eight bits keep them."""
    found = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    for name in [name for name in found if name.endswith(QUANTIZED)]:
        own = name.removesuffix(QUANTIZED)
        zero = found[f"{own}_zero_point"].astype(np.int16)
        found[own] = ((found[name] - zero) * found[f"{own}_scale"]).astype(np.float32)
    return {
        # Linear layers are stored the other way round.
        name: value.T if value.ndim > 1 and name.endswith(".weight") else value
        for name, value in found.items()
        if name.endswith((".weight", ".bias"))
    }
