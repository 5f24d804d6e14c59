"""What is wrong with a configuration, in one or two lines that a physicist can act on."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from treasure.config.loading import nearest

__all__ = ["explain"]

_SHOWN = 2


def explain(
    error: ValidationError,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    default: str,
    model: type[BaseModel],
) -> str:
    """One line for each of the first problems: file, key, what was found, what is allowed."""
    problems = error.errors(include_url=False)
    lines = [_line(problem, values, origins, default, model) for problem in problems[:_SHOWN]]
    lines = list(dict.fromkeys(lines))
    if len(problems) > _SHOWN:
        lines[-1] += f" (and {len(problems) - _SHOWN} more)"
    return "\n".join(lines)


def _line(
    problem: Any,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    default: str,
    model: type[BaseModel],
) -> str:
    kind, found = problem["type"], problem.get("input")
    path = _path_in(values, problem["loc"], absent=kind in ("missing", "extra_forbidden"))
    key = ".".join(path)
    file = _origin(key, origins, default)
    if kind == "extra_forbidden":
        return f"{file}: {key}: unknown key{nearest(path[-1], _siblings(path, values, model))}"
    if kind == "missing":
        return f"{file}: {key}: missing; it has no default"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        file = _origin(f"{key}.kind", origins, default)
    if kind == "union_tag_invalid":
        allowed = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        tag = str(problem["ctx"]["tag"])
        return f"{file}: {key}.kind: found {tag!r}{nearest(tag, allowed)}"
    if kind == "union_tag_not_found":
        return f"{file}: {key}.kind: missing; say which kind it is"
    if kind == "literal_error":
        allowed = [
            w.strip(" '") for w in problem["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        return f"{file}: {key}: found {found!r}{nearest(str(found), allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:  # of the whole: its message begins with the key that it is about
        named = message.partition(":")[0]
        return f"{_origin(named, origins, default) if named in values else file}: {message}"
    if isinstance(found, Mapping):  # several keys of a section do not fit each other
        return f"{file}: {key}: {message}"
    return f"{file}: {key}: found {_brief(found)}; {message[:1].lower()}{message[1:]}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _path_in(values: Any, location: tuple[int | str, ...], *, absent: bool) -> list[str]:
    """The keys as the user wrote them: without the tags that pydantic adds for kinds.

    The last one need not be among the values where it is said to be `absent`, or unknown.
    """
    path: list[str] = []
    for step, part in enumerate(location):
        is_last = step == len(location) - 1
        if isinstance(values, Mapping) and part not in values and not (is_last and absent):
            continue
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        path.append(str(part))
    return path


def _origin(key: str, origins: Mapping[str, str], default: str) -> str:
    """The file that set a key, or something in or around it."""
    while key:
        inside = [file for name, file in origins.items() if name.startswith(f"{key}.")]
        for last in ("--set", default):  # of several keys, the user's is most likely wrong
            if last in inside:
                return last
        if key in origins or inside:
            return origins.get(key) or inside[-1]
        key = key.rpartition(".")[0]
    return default


def _siblings(path: list[str], values: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """The keys that are allowed where the last key of a path stands."""
    models: list[type[BaseModel]] = [model]
    node: Any = values
    for part in path[:-1]:
        node = node.get(part) if isinstance(node, Mapping) else None
        inner: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(part)
            inner += _models_in(field.annotation) if field else [model]
        models = _of_kind(inner, node)
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _of_kind(models: list[type[BaseModel]], node: Any) -> list[type[BaseModel]]:
    """Of the models of a union, the one whose ``kind`` the values name."""
    kind = node.get("kind") if isinstance(node, Mapping) else None
    if kind is None or len(models) < 2:
        return models
    matching = [
        model
        for model in models
        if "kind" in model.model_fields and kind in get_args(model.model_fields["kind"].annotation)
    ]
    return matching or models
