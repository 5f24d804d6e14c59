"""Errors that a user can act on."""

__all__ = ["ConfigError", "DataError", "TreasureError"]


class TreasureError(Exception):
    """Something a user can mend: the message says what, where, what was expected, what to do."""


class ConfigError(TreasureError):
    """A configuration file, key, type or value is wrong."""


class DataError(TreasureError):
    """A file or its content is wrong: missing, damaged, changed, or of another layout."""
