"""Configuration files: find, merge, validate, and say who set what.

A configuration is a YAML file. ``defaults: NAME`` starts from another one; what the file says
itself wins. The values of `selection`, `tokenizer`, `tagger`, `destination`, `comparison`, and of
every entry of `datasets` and `comparison.tokenizers`, may be the name of a part file
(``config/selections/aoj.yaml``), or a mapping, which changes what is inherited; a mapping may start
from a part file with ``defaults: NAME``. An entry set to ``null`` is dropped. Values may refer to
others (``${seed}``).
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treasure.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "CONFIG_DIRECTORY",
    "LoadedConfig",
    "available",
    "find",
    "load_config",
    "nearest",
    "read_layers",
    "validated",
]


def _config_directory() -> Path:
    here = Path(__file__).resolve()
    in_checkout = here.parents[2] / "config"
    return in_checkout if (in_checkout / "demo.yaml").is_file() else here.parent / "files"


CONFIG_DIRECTORY = _config_directory()

# Sections that may be chosen by the name of a part file, and the folder of the part files.
_PARTS = {
    "selection": "selections",
    "tokenizer": "tokenizers",
    "tagger": "taggers",
    "destination": "destinations",
    "comparison": "comparisons",
}
# Mappings of which each entry may be chosen so.
_ENTRIES = {"datasets": "datasets", "comparison.tokenizers": "tokenizers"}


@dataclass(frozen=True)
class LoadedConfig:
    """A validated configuration, and where each of its values was set.

    Attributes
    ----------
    name
        The stem of the file.
    config
        The typed tree (`treasure.config.tree.Config`).
    origins
        Dotted key → file (or ``--set``) that set it; what is missing has its default.
    """

    name: str
    config: Any
    origins: Mapping[str, str]

    @property
    def store_as(self) -> str:
        """What stands in every output path: ``store_as``, or the name."""
        return str(self.config.store_as or self.name)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?`` and the allowed words: the tail of an error message."""
    words = sorted(allowed)
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    hint = f"; did you mean {match[0]!r}?" if match else ""
    listed = ", ".join(words[:20]) + (", …" if len(words) > 20 else "")
    return f"{hint} (allowed: {listed})" if words else hint


def available(folder: str = "") -> list[str]:
    """The names of the configurations (or, with a folder, of its part files)."""
    return sorted(p.stem for p in (CONFIG_DIRECTORY / folder).glob("*.yaml"))


def load_config(name: str = "demo", overrides: tuple[str, ...] = ()) -> LoadedConfig:
    """Load a configuration by name (``demo``) or by path (``path/to/my.yaml``).

    Parameters
    ----------
    name
        A name in ``config/``, or the path of a YAML file.
    overrides
        One-off changes, ``section.key=value`` each.

    Raises
    ------
    ConfigError
        In one or two lines: the file, the key, what was found and what is allowed.
    """
    path = find(name, "", f"--config {name}")
    return _load(path, path.stat().st_mtime_ns, tuple(overrides))


@lru_cache(maxsize=64)
def _load(path: Path, _changed: int, overrides: tuple[str, ...]) -> LoadedConfig:
    from treasure.config.tree import Config

    origins: dict[str, str] = {}
    values = read_layers(path, origins)
    if overrides:
        layer = _parse_overrides(overrides)
        values = _merge(values, layer, "--set", origins, Path.cwd())
    values = _without_null_entries(values)
    return LoadedConfig(path.stem, validated(values, origins, path, Config), origins)


def find(name: str, folder: str, asked_by: str, beside: Path | None = None) -> Path:
    """The file of a configuration or part: a path (with suffix or slash), or a name."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if beside is not None and not path.is_absolute():
            path = beside / path
        if not path.is_file():
            raise ConfigError(f"{asked_by}: no file {path}")
        return path.resolve()
    path = CONFIG_DIRECTORY / folder / f"{name}.yaml"
    if not path.is_file():
        where = f"config/{folder}/" if folder else "config/"
        raise ConfigError(
            f"{asked_by}: no {name!r} in {where}{nearest(name, available(folder))}"
            + ("" if folder else "; or give the path of a .yaml file")
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}," if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{shown(path)}:{line} not valid YAML: {problem}") from None
    except (OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown(path)}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{shown(path)}: found a {type(content).__name__}, expected `key: value` lines"
        )
    return {str(key): value for key, value in content.items()}


def read_layers(
    path: Path, origins: dict[str, str], folder: str = "", seen: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """A file merged over what its ``defaults`` name: files, or names in a folder of ``config/``.

    Who set what is added to `origins`.
    """
    if path in seen:
        chain = " → ".join(shown(p) for p in (*seen, path))
        raise ConfigError(f"{shown(path)}: defaults go in a circle: {chain}")
    layer = _read(path)
    values: dict[str, Any] = {}
    for name in _names(layer.pop("defaults", []), path, "defaults"):
        base = find(name, folder, f"{shown(path)}: defaults", beside=path.parent)
        inherited = read_layers(base, origins, folder, (*seen, path))
        values = _overlay(values, inherited)
    return _merge(values, layer, shown(path), origins, path.parent)


def _names(value: Any, path: Path, key: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{shown(path)}: {key}: found {value!r}, expected a name or a list")
    return names


def _merge(
    values: dict[str, Any],
    layer: dict[str, Any],
    origin: str,
    origins: dict[str, str],
    folder: Path,
) -> dict[str, Any]:
    """One layer over the inherited values; names of part files become what they hold."""
    for section, parts in _PARTS.items():
        if section in layer:
            base, change = _part(layer[section], parts, section, origin, origins, folder)
            layer = {**layer, section: change}
            if base is not None:
                values = {**values, section: base}
    values, layer = _entries("", values, layer, origin, origins, folder)
    _note_origins(layer, origin, origins)
    return _overlay(values, layer)


def _entries(
    prefix: str,
    values: dict[str, Any],
    layer: dict[str, Any],
    origin: str,
    origins: dict[str, str],
    beside: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inherited values and a layer of the section `prefix`, in which entries name part files."""
    for key, folder in _ENTRIES.items():
        path = key.removeprefix(prefix).split(".")
        entries = _as_mapping(_at(layer, path)) if key.startswith(prefix) else None
        if not isinstance(entries, dict):
            continue
        layer = _put(layer, path, entries)
        inherited = _at(values, path) or {}
        for name, entry in entries.items():
            if entry is None and name not in inherited:
                raise ConfigError(
                    f"{origin}: {key}.{name}: nothing to take away{nearest(name, inherited)}"
                )
            base, change = _part(entry, folder, f"{key}.{name}", origin, origins, beside)
            layer = _put(layer, [*path, name], change)
            if base is not None:
                values = _put(values, [*path, name], base)
    return values, layer


def _as_mapping(entries: Any) -> Any:
    """``[qcd, ttbar]`` is short for ``{qcd: qcd, ttbar: ttbar}``."""
    if isinstance(entries, list) and all(isinstance(name, str) for name in entries):
        return {name: name for name in entries}
    return entries


def _at(values: Any, path: list[str]) -> Any:
    """What a mapping of mappings has in a place; None if nothing."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _put(values: Any, path: list[str], value: Any) -> dict[str, Any]:
    """A copy of a mapping of mappings with something else in a place."""
    key, *inner = path
    known = values if isinstance(values, dict) else {}
    return {**known, key: _put(known.get(key), inner, value) if inner else value}


def _part(
    value: Any, folder: str, key: str, origin: str, origins: dict[str, str], beside: Path
) -> tuple[dict[str, Any] | None, Any]:
    """Split a section's value into the part file that it names and the changes to it."""
    change = value
    if isinstance(value, str):
        name, change = value, {}
    elif isinstance(value, dict) and isinstance(value.get("defaults"), str):
        name, change = value["defaults"], {k: v for k, v in value.items() if k != "defaults"}
    else:
        return None, change
    path = find(name, folder, f"{origin}: {key}", beside=beside)
    content = _read(path)
    base: dict[str, Any] = {}
    if isinstance(content.get("defaults"), str):
        inherited = content.pop("defaults")
        if inherited == name:
            raise ConfigError(f"{shown(path)}: defaults: {name!r} names itself")
        deeper, _ = _part(inherited, folder, key, shown(path), origins, path.parent)
        base = deeper or {}
    for old in [o for o in origins if o == key or o.startswith(f"{key}.")]:
        if not base:
            del origins[old]
    base, content = _entries(f"{key}.", base, content, shown(path), origins, path.parent)
    _note_origins(content, shown(path), origins, key)
    return _overlay(base, content), change


def _overlay(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings key by key; lists and scalars are replaced.

    A mapping that says another ``kind`` than the inherited one replaces it: the keys of one kind
    mean nothing to another.
    """
    merged = dict(values)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same_kind = "kind" not in value or old.get("kind") == value["kind"]
            merged[key] = _overlay(old, value) if same_kind else value
        else:
            merged[key] = value
    return merged


def _note_origins(
    layer: Mapping[str, Any], origin: str, origins: dict[str, str], prefix: str = ""
) -> None:
    for key, value in layer.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict) and value:
            _note_origins(value, origin, origins, dotted)
        else:
            origins[dotted] = origin


def _parse_overrides(overrides: tuple[str, ...]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key.strip() or any(not part for part in key.strip().split(".")):
            raise ConfigError(
                f"--set {override}: expected section.key=value, such as selection.jet_pt_min=350"
            )
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--set {' '.join(overrides)}: cannot be read: {reason}") from None
    assert isinstance(parsed, dict)
    return {str(key): value for key, value in parsed.items()}


def _without_null_entries(values: dict[str, Any]) -> dict[str, Any]:
    for key in _ENTRIES:
        entries = _at(values, key.split("."))
        if isinstance(entries, dict):
            kept = {name: entry for name, entry in entries.items() if entry is not None}
            values = _put(values, key.split("."), kept)
            if key == "comparison.tokenizers":
                values = _without_points(values, set(entries) - set(kept))
    return values


def _without_points(values: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    """A tokenizer that is dropped is no point of the curve either."""
    curve = _at(values, ["comparison", "curve"])
    if not dropped or not isinstance(curve, list):
        return values
    return _put(values, ["comparison", "curve"], [name for name in curve if name not in dropped])


def _resolve(values: dict[str, Any], path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{shown(path)}: {str(error).splitlines()[0]}") from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def validated(
    values: dict[str, Any], origins: Mapping[str, str], path: Path, model: "type[BaseModel]"
) -> Any:
    """What the merged layers of a file say, typed; references are filled in."""
    from pydantic import ValidationError

    from treasure.config.messages import explain

    values = _resolve(values, path)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, values, origins, shown(path), model)) from None


def shown(path: Path) -> str:
    """How a file is named in messages: from the project's folder, or in full."""
    root = CONFIG_DIRECTORY.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
