"""The networks of a tokenizer as ONNX graphs, for readers without torch.

A graph takes packed particles, ``particles`` (P, F or D), and where the network sees the jet, also
``owner`` (P,) int64, the jet of each particle, ascending, and ``jets`` (1,) int64, their number. The
same parameters give the same bytes.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from treasure.errors import ConfigError
from treasure.tokenizer.model import DeepSets, Identity, Model

__all__ = ["decoder_graph", "encoder_graph"]

# ScatterElements that adds is as old; the version of the file format that came with it.
_OPSET, _IR_VERSION = 18, 8


def encoder_graph(model: Model) -> bytes:
    """From standardised features (P, F) to latent vectors (P, D), in float64.

    Raises
    ------
    ConfigError
        For a kind of model of which there is no graph.
    """
    return _graph(model, "encoder", np.dtype(np.float64))


def decoder_graph(model: Model) -> bytes:
    """From quantized latent vectors (P, D) to standardised features (P, F).

    In float64, of which the choice of codes takes part (`jet_constraint`), but for a decoder that
    sees the jet in float32, as the package decodes.

    Raises
    ------
    ConfigError
        For a kind of model of which there is no graph.
    """
    double = not model.config.decoder_sees_jet
    return _graph(model, "decoder", np.dtype(np.float64 if double else np.float32))


class _Builder:
    """A graph under construction; values are known by their names."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs = ["particles"]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def linear(self, x: str, layer: nn.Linear) -> str:
        parameters = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        names = [self.constant(p.detach().cpu().numpy().astype(self.dtype)) for p in parameters]
        return self.node("Gemm", x, *names, transB=1)

    def silu(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def of_jet(self, per_particle: str, width: int) -> str:
        """Sums over the particles of each jet, (N, width)."""
        self.inputs = ["particles", "owner", "jets"]
        shape = self.node("Concat", "jets", self.constant(np.array([width])), axis=0)
        zero = numpy_helper.from_array(np.zeros(1, dtype=self.dtype), "zero")
        empty = self.node("ConstantOfShape", shape, value=zero)
        column = self.node("Unsqueeze", "owner", self.constant(np.array([1])))
        index = self.node("Expand", column, self.node("Shape", per_particle))
        return self.node("ScatterElements", empty, index, per_particle, axis=0, reduction="add")


def _graph(model: Model, part: str, dtype: np.dtype[Any]) -> bytes:
    builder = _Builder(dtype)
    if isinstance(model, Identity):
        result = builder.node("Identity", "particles")
    elif isinstance(model, DeepSets):
        result = _residual(builder, getattr(model, part))
    else:
        raise ConfigError(
            f"a model of kind {model.config.kind} has no ONNX graph: deep_sets and identity have"
        )
    sizes = [model.features, model.dimension][:: 1 if part == "encoder" else -1]
    number = helper.np_dtype_to_tensor_dtype(dtype)
    inputs = {
        "particles": (number, ["particles", sizes[0]]),
        "owner": (TensorProto.INT64, ["particles"]),
        "jets": (TensorProto.INT64, [1]),
    }
    builder.nodes.append(helper.make_node("Identity", [result], ["result"]))
    graph = helper.make_graph(
        builder.nodes,
        part,
        [helper.make_tensor_value_info(name, *inputs[name]) for name in builder.inputs],
        [helper.make_tensor_value_info("result", number, ["particles", sizes[1]])],
        builder.constants,
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="treasure",
    )
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def _residual(builder: _Builder, network: Any) -> str:
    """See `treasure.tokenizer.model`."""
    h = builder.linear("particles", network.first)
    if network.summary is not None:
        first, _, second = network.summary
        per_particle = builder.linear(builder.silu(builder.linear("particles", first)), second)
        tenth = builder.constant(np.array(0.1, dtype=builder.dtype))
        summed = builder.of_jet(per_particle, second.out_features)
        jet = builder.silu(builder.node("Mul", summed, tenth))
        seen = builder.node("Gather", builder.linear(jet, network.from_jet), "owner", axis=0)
        h = builder.node("Add", h, seen)
    h = builder.silu(h)
    for layer in network.hidden:
        h = builder.silu(builder.linear(h, layer))
    straight = builder.linear("particles", network.straight)
    return builder.node("Add", straight, builder.linear(h, network.last))
