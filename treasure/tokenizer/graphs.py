"""The networks of a tokenizer as ONNX graphs, for readers without torch.

A graph takes ``particles``: (P, F or D), or, where the network sees the jet, (N, M, F or D) of N
jets that have M particles each, so that nothing in it is padding. The same parameters give the
same bytes.
"""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from treasure.errors import ConfigError
from treasure.tokenizer.model import DeepSets, Identity, Model
from treasure.tokenizer.normformer import NormFormer
from treasure.tokenizer.quantizer import Quantizer
from treasure.tokenizer.scalar_quantizer import ScalarQuantizer

__all__ = ["decoder_graph", "encoder_graph"]

# Of 2022, and the version of the file format that came with it: read by what people have.
_OPSET, _IR_VERSION = 18, 8
_FSQ_MARGIN = 1e-3  # of FSQ.bound


def encoder_graph(model: Model, quantizer: Quantizer) -> bytes:
    """From standardised features (P, F) to latent vectors (P, D), in float64.

    With finite scalar quantization, to places among the levels of each dimension, to be rounded.

    Raises
    ------
    ConfigError
        For a kind of model of which there is no graph.
    """
    levels = quantizer.levels if isinstance(quantizer, ScalarQuantizer) else None
    return _graph(model, "encoder", np.dtype(np.float64), levels)


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
        self.jets_and_sizes: str | None = None

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.array(value, dtype=dtype or self.dtype, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def start(self, width: int, *, sees_jet: bool) -> str:
        """The particles as rows (P, width)."""
        if not sees_jet:
            return "particles"
        self.jets_and_sizes = self.node("Shape", "particles", start=0, end=2)
        return self.rows("particles", width)

    def rows(self, x: str, width: int) -> str:
        """(N, M, width) to (P, width)."""
        return self.node("Reshape", x, self.constant([-1, width], np.int64))

    def by_jet(self, x: str, *widths: int) -> str:
        """(P, W) to (N, M, widths)."""
        assert self.jets_and_sizes is not None
        last = self.constant(widths, np.int64)
        return self.node("Reshape", x, self.node("Concat", self.jets_and_sizes, last, axis=0))

    def linear(self, x: str, layer: nn.Linear) -> str:
        parameters = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        names = [self.constant(parameter.detach().cpu().numpy()) for parameter in parameters]
        return self.node("Gemm", x, *names, transB=1)

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        scale, shift = (self.constant(p.detach().cpu().numpy()) for p in (layer.weight, layer.bias))
        if self.dtype == np.float32:
            return self.node("LayerNormalization", x, scale, shift, epsilon=layer.eps)
        # the same in steps; onnxruntime's own is slow in float64
        axis = self.constant([-1], np.int64)
        moved = self.node("Sub", x, self.node("ReduceMean", x, axis))
        variance = self.node("ReduceMean", self.node("Mul", moved, moved), axis)
        width = self.node("Sqrt", self.node("Add", variance, self.constant([layer.eps])))
        standard = self.node("Mul", moved, self.node("Reciprocal", width))
        return self.node("Add", self.node("Mul", standard, scale), shift)

    def weighted(self, scores: str, values: str) -> str:
        """Softmax of the last axis of scores (…, M, M), times values (…, M, d)."""
        if self.dtype == np.float32:
            return self.node("MatMul", self.node("Softmax", scores, axis=-1), values)
        # in steps, as above
        axis = self.constant([-1], np.int64)
        moved = self.node("Sub", scores, self.node("ReduceMax", scores, axis))
        weights = self.node("Exp", moved)
        total = self.node("ReduceSum", weights, axis)
        return self.node("Div", self.node("MatMul", weights, values), total)

    def silu(self, x: str) -> str:
        if self.dtype == np.float32:
            return self.node("Mul", x, self.node("Sigmoid", x))
        # the same; onnxruntime is slow at logistic functions in float64
        below = self.node("Add", self.node("Exp", self.node("Neg", x)), self.constant([1.0]))
        return self.node("Div", x, below)


def _graph(model: Model, part: str, dtype: np.dtype[Any], levels: Any = None) -> bytes:
    builder = _Builder(dtype)
    sizes = [model.features, model.dimension][:: 1 if part == "encoder" else -1]
    if isinstance(model, Identity):
        result = builder.node("Identity", "particles")
    elif isinstance(model, DeepSets):
        result = _residual(builder, getattr(model, part))
    elif isinstance(model, NormFormer):
        result = _normformer(builder, getattr(model, part), attention=model.config.attention)
    else:
        raise ConfigError(f"a model of kind {model.config.kind} has no ONNX graph")
    if levels is not None:
        result = _among_levels(builder, result, levels)
    number = helper.np_dtype_to_tensor_dtype(dtype)
    sees_jet = builder.jets_and_sizes is not None
    builder.nodes.append(helper.make_node("Identity", [result], ["result"]))
    lead = ["jets", "size"] if sees_jet else ["particles"]
    graph = helper.make_graph(
        builder.nodes,
        part,
        [helper.make_tensor_value_info("particles", number, [*lead, sizes[0]])],
        [helper.make_tensor_value_info("result", number, ["rows", sizes[1]])],
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
    particles = builder.start(network.first.in_features, sees_jet=network.summary is not None)
    h = builder.linear(particles, network.first)
    if network.summary is not None:
        first, _, second = network.summary
        width, context = second.in_features, second.out_features
        per_particle = builder.linear(builder.silu(builder.linear(particles, first)), second)
        axis = builder.constant([1], np.int64)
        summed = builder.node("ReduceSum", builder.by_jet(per_particle, context), axis, keepdims=0)
        jet = builder.silu(builder.node("Mul", summed, builder.constant([0.1])))
        seen = builder.node("Unsqueeze", builder.linear(jet, network.from_jet), axis)
        h = builder.rows(builder.node("Add", builder.by_jet(h, width), seen), width)
    h = builder.silu(h)
    for layer in network.hidden:
        h = builder.silu(builder.linear(h, layer))
    straight = builder.linear(particles, network.straight)
    return builder.node("Add", straight, builder.linear(h, network.last))


def _normformer(builder: _Builder, stack: Any, *, attention: bool) -> str:
    """See `treasure.tokenizer.normformer`."""
    width = stack.first.out_features
    x = builder.start(stack.first.in_features, sees_jet=attention)
    x = builder.linear(x, stack.first)
    for block in stack.blocks:
        mixed = builder.norm(x, block.before)
        if attention:
            mixed = _attention(builder, builder.linear(mixed, block.inward), block.heads, width)
        else:  # to itself alone: the values
            values = nn.Linear(width, width)
            values.weight.data = block.inward.weight.detach()[-width:]
            values.bias.data = block.inward.bias.detach()[-width:]
            mixed = builder.linear(mixed, values)
        mixed = builder.norm(builder.linear(mixed, block.outward), block.after)
        x = builder.node("Add", x, mixed)
        hidden = builder.silu(builder.linear(builder.norm(x, block.norm), block.up))
        x = builder.node("Add", x, builder.linear(hidden, block.down))
    return builder.linear(x, stack.last)


def _attention(builder: _Builder, qkv: str, heads: int, width: int) -> str:
    """Rows of queries, keys and values (P, 3 W) to (P, W)."""
    size = width // heads
    by_head = builder.by_jet(qkv, 3, heads, size)  # (N, M, 3, H, d)
    three = builder.node("Transpose", by_head, perm=[2, 0, 3, 1, 4])
    query, key, value = (
        builder.node("Gather", three, builder.constant(which, np.int64), axis=0)
        for which in range(3)
    )
    scores = builder.node("MatMul", query, builder.node("Transpose", key, perm=[0, 1, 3, 2]))
    scores = builder.node("Mul", scores, builder.constant([size**-0.5]))
    mixed = builder.weighted(scores, value)
    return builder.rows(builder.node("Transpose", mixed, perm=[0, 2, 1, 3]), width)


def _among_levels(builder: _Builder, latent: str, levels: Any) -> str:
    """What `vector_quantize_pytorch.FSQ` rounds, with its constants, which are float32."""
    number = levels._levels
    half = (number - 1) * (1 + _FSQ_MARGIN) / 2
    offset = torch.where(number % 2 == 0, 0.5, 0.0)
    shift = torch.atanh(offset / half)
    moved = builder.node("Tanh", builder.node("Add", latent, builder.constant(shift.numpy())))
    stretched = builder.node("Mul", moved, builder.constant(half.numpy()))
    return builder.node("Sub", stretched, builder.constant(offset.numpy()))
