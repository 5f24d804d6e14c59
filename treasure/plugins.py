"""Families of classes that a configuration chooses from by name.

A family is a base class; ``class Residual(Quantizer, kind="residual")`` joins it under that name.
``lookup`` finds a class by its name, or imports one given as ``package.module:Class``.
"""

import importlib
from typing import Any, ClassVar, TypeVar

from treasure.errors import ConfigError

__all__ = ["Plugin", "lookup"]

T = TypeVar("T", bound="Plugin")


class Plugin:
    """Mix-in for the base class of a family; subclasses register themselves by `kind`."""

    kinds: ClassVar[dict[str, type[Any]]]
    kind: ClassVar[str] = ""

    def __init_subclass__(cls, *, kind: str = "", family: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if family:
            cls.kinds = {}
        cls.kind = kind  # not that of the class from which it was derived
        if kind:
            cls.kinds[kind] = cls


def lookup(family: type[T], kind: str) -> type[T]:
    """The class of a family that a configuration names.

    Parameters
    ----------
    family
        Base class, such as `Quantizer`.
    kind
        A registered name, or ``package.module:Class``.

    Raises
    ------
    ConfigError
        If there is no such class, or it is of another family.
    """
    if kind in family.kinds:
        return family.kinds[kind]
    module, _, name = kind.partition(":")
    if not name:
        known = ", ".join(sorted(family.kinds))
        raise ConfigError(f"no {family.__name__} is called {kind!r}; known are {known}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{family.__name__} {kind!r} cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, family)):
        raise ConfigError(f"{kind!r} is not a subclass of {family.__module__}.{family.__name__}")
    return found
