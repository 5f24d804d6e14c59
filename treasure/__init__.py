"""TREASURE: tokenized representations of collider data.

The library behind the workflow: every room (``fileset``, ``simulation``, ``skim``, ``jets``,
``tokenizer``, ``tokens``, ``release``, ``benchmark``) can be used from a notebook and knows
nothing of law. `Tokenizer` turns jets into tokens and back; `TokenDataset` loads what a release
holds into PyTorch. Both are imported, and torch with them, when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treasure.tokenizer.artefact import Tokenizer
    from treasure.tokens.dataset import TokenDataset

__all__ = ["TokenDataset", "Tokenizer", "__version__"]

__version__ = "0.1.0"

_ELSEWHERE = {
    "TokenDataset": "treasure.tokens.dataset",
    "Tokenizer": "treasure.tokenizer.artefact",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ELSEWHERE])
