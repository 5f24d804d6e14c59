"""What a dialect is: a format of others that our tables are exported to, and imported from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from treasure.errors import DataError
from treasure.plugins import Plugin

__all__ = ["OF_JETS", "OF_TOKENS", "UNKNOWN", "Dialect", "Options", "Report"]

UNKNOWN = "unknown"
"""Split, or tokenizer fingerprint, of what a file does not say."""

OF_JETS = frozenset({"label", "dataset", "split"})
"""Names of `Options` that say what a file of jets does not."""

OF_TOKENS = OF_JETS | {"tokenizer", "codebook", "vocabulary"}
"""The same for a file of tokens."""


@dataclass(frozen=True)
class Options:
    """What a file does not say by itself.

    Attributes
    ----------
    tokenizer
        Folder of the tokenizer of the tokens: it decodes them, and must fit them.
    codebook
        An npz file with the codebook, where there is no tokenizer: of a tokenizer's folder
        (``codebook``), of gabbro (``codebook_effective``) or of HEPTokens (``codebooks``).
    vocabulary
        K: ids are 0 … K - 1. Import only.
    label
        Class of all jets of the file. Import only.
    names
        Class → its name in the other format.
    dataset
        Name of the dataset; default: the stem of the file. Import only.
    split
        ``hash`` (of run, section and event), one split for all jets, or ``unknown``; default:
        ``hash`` in jet tables, ``unknown`` in token tables. Import only.
    columns
        ``heptokens``: a parquet file for the columns that a token table has no place for; an
        import writes it, an export adds them again.
    tree
        TTree of a ROOT file; default: the only one, or ``tree``. Import only.
    """

    tokenizer: Path | None = None
    codebook: Path | None = None
    vocabulary: int | None = None
    label: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    dataset: str | None = None
    split: Literal["hash", "train", "val", "test", "unknown"] | None = None
    columns: Path | None = None
    tree: str | None = None


@dataclass
class Report:
    """What an export or import did.

    Attributes
    ----------
    files
        What was written.
    jets, particles
        How many of them were written.
    losses
        What the other format has no place for, or was cut, in words.
    notes
        What else should be known, such as values that stand for what was not there.
    """

    files: list[Path] = field(default_factory=list)
    jets: int = 0
    particles: int = 0
    losses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Dialect(Plugin, family=True):
    """A format of others. A subclass gives `write`, `read` or both; its `kind` is its name.

    Both stream: what they hold in memory does not grow with the file.
    """

    summary: ClassVar[str] = ""

    imports_to: ClassVar[tuple[str, ...]] = ()
    """Endings of what an import writes; none: any."""

    reads: ClassVar[frozenset[str] | None] = None
    """Names of the `Options` that mean something to an import; others are refused. None: all do."""

    writes: ClassVar[frozenset[str] | None] = None
    """The same for an export."""

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a file that is to be imported looks like one of this dialect."""
        return False

    def write(self, source: Path, path: Path, options: Options) -> Report:
        """Export one of our tables.

        Raises
        ------
        DataError
            If the table does not fit the format.
        """
        raise DataError(f"{path}: nothing is exported to the dialect {self.kind}")

    def read(self, source: Path, path: Path, options: Options) -> Report:
        """Import a file of this dialect into a table of ours.

        Raises
        ------
        DataError
            If the file is damaged, or not what the description of the dialect says.
        """
        raise DataError(f"{source}: nothing is imported from the dialect {self.kind}")
