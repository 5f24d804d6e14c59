"""Parameters of the command line that luigi does not have."""

import argparse
from typing import Any

import luigi

from treasure.errors import ConfigError

__all__ = ["OverridesParameter", "tell_option"]


class _Append(argparse.Action):
    """Collects a repeated flag: ``--set a=1 --set b=2``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if earlier is None else f"{earlier},{values}")


class OverridesParameter(luigi.Parameter):
    """``key=value`` pairs, separated by commas (not those in brackets or quotes), repeatable."""

    @classmethod
    def _parser_kwargs(cls, param_name: str, task_name: str | None = None) -> dict[str, Any]:
        # luigi's only way to say how a flag is parsed; "store" would keep the last --set silently.
        return {**super()._parser_kwargs(param_name, task_name), "action": _Append}

    def parse(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts, depth, quote, start = [], 0, "", 0
        for position, character in enumerate(value):
            if quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in "[{(":
                depth += 1
            elif character in "]})":
                depth -= 1
            elif character == "," and depth == 0:
                parts.append(value[start:position])
                start = position + 1
        return tuple(part.strip() for part in [*parts, value[start:]] if part.strip())

    def serialize(self, value: Any) -> str:
        return ",".join(value) if isinstance(value, tuple) else str(value)


def tell_option(parameter: luigi.Parameter, name: str) -> None:
    """Let a parameter say its option where it cannot read a value; repeating changes nothing.

    A parameter does not know its name, and luigi lets what it raises pass with a traceback.
    """
    if "parse" in vars(parameter):
        return
    parse = parameter.parse

    def parse_or_tell(value: Any) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            whole = isinstance(parameter, luigi.IntParameter)
            told = "expected a whole number" if whole else str(error)
            raise ConfigError(f"--{name.replace('_', '-')} {value}: {told}") from None

    parameter.parse = parse_or_tell
