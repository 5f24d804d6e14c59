"""What an artefact holds for readers without torch: ONNX graphs, and the program that uses them."""

from pathlib import Path
from typing import TYPE_CHECKING

from treasure.tokenizer import portable
from treasure.tokenizer.model import DeepSets, Identity
from treasure.tokenizer.normformer import NormFormer

if TYPE_CHECKING:
    from treasure.tokenizer.artefact import Tokenizer

__all__ = ["PORTABLE", "obstacle", "portable_files"]

PORTABLE = "portable.py"
_MODELS = (DeepSets, Identity, NormFormer)


def obstacle(tokenizer: "Tokenizer") -> str | None:
    """Why the tokenizer cannot be used without torch; None: it can."""
    config = tokenizer.config
    if config.features.kind not in portable.FEATURES:
        return f"features of kind {config.features.kind}; {_known(portable.FEATURES)}"
    if config.quantizer.kind not in portable.QUANTIZERS:
        return f"a quantizer of kind {config.quantizer.kind}; {_known(portable.QUANTIZERS)}"
    if type(tokenizer.model) not in _MODELS:
        return f"a model of kind {config.model.kind}; {_known([m.kind for m in _MODELS])}"
    return None


def _known(kinds: "tuple[str, ...] | list[str]") -> str:
    return f"without torch there are {', '.join(kinds)}"


def portable_files(tokenizer: "Tokenizer") -> dict[str, bytes]:
    """``encoder.onnx``, ``decoder.onnx`` and ``portable.py``; none where there is an obstacle."""
    if obstacle(tokenizer) is not None:
        return {}
    # not before: importing onnx takes longer than loading a tokenizer
    from treasure.tokenizer.graphs import decoder_graph, encoder_graph

    return {
        "encoder.onnx": encoder_graph(tokenizer.model, tokenizer.quantizer),
        "decoder.onnx": decoder_graph(tokenizer.model),
        PORTABLE: Path(portable.__file__).read_bytes(),
    }
