"""Families of classes that a configuration chooses from by name.

A family is a base class; ``class Residual(Quantizer, kind="residual")`` joins it under that name.
``lookup`` finds a class by its name, or imports one given as ``package.module:Class``.
"""

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from treasure.errors import ConfigError

__all__ = ["Plugin", "check_own", "lookup"]

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


def check_own(kind: str) -> None:
    """Refuse ``package.module:Class`` whose module is not there, or does not have the name.

    The module is found and read, not imported, which could take seconds.

    Raises
    ------
    ConfigError
        Saying where modules are looked for, or which classes the module has.
    """
    module, _, name = kind.partition(":")
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ConfigError(
            f"{kind!r}: there is no module {module}; it is looked for in the project's folder,"
            " PYTHONPATH and the installed packages"
        )
    if found.origin is None or not found.origin.endswith(".py"):
        return
    text = Path(found.origin).read_text(encoding="utf-8", errors="replace")
    if not re.search(rf"\b{re.escape(name)}\b|^from .* import \*", text, re.MULTILINE):
        classes = ", ".join(re.findall(r"^class (\w+)", text, re.MULTILINE)) or "none"
        raise ConfigError(f"{kind!r}: {found.origin} has no {name}; its classes: {classes}")


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
