"""TREASURE: tokenized representations of collider data.

The library behind the workflow: every room (``fileset``, ``simulation``, ``skim``, ``jets``,
``tokenizer``, ``tokens``, ``release``, ``benchmark``) can be used from a notebook and knows
nothing of law. ``treasure.Tokenizer`` is `treasure.tokenizer.artefact.Tokenizer`, imported, and
torch with it, when it is first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# By name, not by an import: the rooms know the version, and nothing of the tokenizer.
_ELSEWHERE = {"Tokenizer": "treasure.tokenizer.artefact"}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ELSEWHERE])
