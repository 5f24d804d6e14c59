"""TREASURE: tokenized representations of collider data.

The library behind the workflow: every room (``fileset``, ``simulation``, ``skim``, ``jets``,
``tokenizer``, ``tokens``, ``release``, ``benchmark``) can be used from a notebook and knows
nothing of law. `TokenDataset` loads what a release holds into PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treasure.tokens.dataset import TokenDataset

__all__ = ["TokenDataset", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Torch takes a second to import, and who reads the version does not need it.
    if name == "TokenDataset":
        from treasure.tokens.dataset import TokenDataset

        return TokenDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
