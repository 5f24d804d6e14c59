"""TREASURE: tokenized representations of collider data.

The library behind the workflow: every room (``fileset``, ``simulation``, ``skim``, ``jets``,
``tokenizer``, ``tokens``, ``release``, ``benchmark``) can be used from a notebook and knows
nothing of law.
"""

__version__ = "0.1.0"
