"""`treasure config`: the configuration as a user reads it."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from treasure.config.loading import LoadedConfig, load_config, nearest
from treasure.errors import ConfigError

__all__ = ["show_configuration", "show_site"]

_LONG_LIST = 4
# Whole sections, many times over: only their names are shown, unless they are asked for.
_BY_NAME = "comparison.tokenizers"


def show_configuration(
    name: str, overrides: tuple[str, ...], section: str, *, describe: bool, as_yaml: bool
) -> None:
    """Print a configuration, one line a value, with the file that set it and what it means."""
    _show(load_config(name, overrides), "configuration", section, describe, as_yaml)


def show_site(name: str, section: str, *, describe: bool, as_yaml: bool) -> None:
    """Print a site in the same way."""
    from treasure.config.site import load_site

    _show(load_site(name), "site", section, describe, as_yaml)


def _show(loaded: LoadedConfig, what: str, section: str, describe: bool, as_yaml: bool) -> None:
    lines = list(_lines(loaded.config, "", loaded))
    if section:
        chosen = [line for line in lines if f"{line[0]}.".startswith(f"{section}.")]
        if not chosen:
            raise ConfigError(
                f"--section {section}: no such key{nearest(section, _prefixes(lines))}"
            )
        lines = chosen
    if as_yaml:
        values: dict[str, Any] = {}
        for key, value, _, _ in lines:
            *above, last = key.split(".")
            node = values
            for part in above:
                node = node.setdefault(part, {})
            node[last] = value
        print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
        return
    if not f"{section}.".startswith("comparison."):
        lines = list(_names_only(lines, loaded.name))
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{what} ", ""), (loaded.name, "bold")))
    for key, value, origin, description in lines:
        console.print(
            Text.assemble((key, "cyan"), ": ", (_shown(value), "bold"), (f"   ← {origin}", "green"))
        )
        if describe and description:
            console.print(Text(f"    {description}", "dim"))


def _names_only(
    lines: list[tuple[str, Any, str, str]], name: str
) -> Iterator[tuple[str, Any, str, str]]:
    """Lines, with one for all entries of `_BY_NAME`."""
    inside = [line for line in lines if line[0].startswith(f"{_BY_NAME}.")]
    names = list(dict.fromkeys(key.split(".")[2] for key, *_ in inside))
    origins = {line[2] for line in inside} - {"default"}
    told = f"treasure config {name} --section {_BY_NAME} shows them."
    for line in lines:
        if line not in inside:
            yield line
        elif line is inside[0]:
            yield _BY_NAME, names, origins.pop() if len(origins) == 1 else "several files", told


def _lines(
    model: BaseModel, prefix: str, loaded: LoadedConfig
) -> Iterator[tuple[str, Any, str, str]]:
    """Key, value, origin and description of every leaf of a section."""
    for name, field in type(model).model_fields.items():
        key = f"{prefix}{name}"
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _lines(value, f"{key}.", loaded)
        elif isinstance(value, dict) and any(isinstance(v, BaseModel) for v in value.values()):
            for entry, inner in value.items():
                yield from _lines(inner, f"{key}.{entry}.", loaded)
        else:
            plain = json.loads(model.model_dump_json(include={name}))[name]
            yield key, plain, _origin(key, loaded), field.description or ""


def _origin(key: str, loaded: LoadedConfig) -> str:
    """Who set a value, or something in it."""
    inside = (file for name, file in loaded.origins.items() if name.startswith(f"{key}."))
    return loaded.origins.get(key) or next(inside, "default")


def _prefixes(lines: list[tuple[str, Any, str, str]]) -> set[str]:
    found: set[str] = set()
    for key, *_ in lines:
        parts = key.split(".")
        found |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > _LONG_LIST:
        head = ", ".join(json.dumps(item, ensure_ascii=False) for item in value[:2])
        return f"[{head}, … {len(value)} in all]"
    return json.dumps(value, ensure_ascii=False)
