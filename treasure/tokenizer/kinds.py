"""The feature sets, models and quantizers of the project; importing this registers them."""

from treasure.tokenizer import (
    features,
    gradient_quantizer,
    model,
    normformer,
    particle_flow,
    quantizer,
    residual_quantizer,
    scalar_quantizer,
)

__all__ = [
    "features",
    "gradient_quantizer",
    "model",
    "normformer",
    "particle_flow",
    "quantizer",
    "residual_quantizer",
    "scalar_quantizer",
]
