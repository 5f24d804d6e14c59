"""Which vocabulary, codebook and tokenizer belong to tokens; what does not fit is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.tokenizer.arrays import read_npz
from treasure.tokens.dialects.blocks import MOST_CODES
from treasure.tokens.dialects.dialect import UNKNOWN, Options
from treasure.tokens.table import TokenTable

__all__ = [
    "BELIEVED",
    "Known",
    "check_table",
    "codebook_of",
    "known_of",
    "load_tokenizer",
    "vocabulary_size",
]

BELIEVED = "not checked: whether this tokenizer made the tokens (the file does not say)"
"""Note of an import that was given a tokenizer, from a format that names none."""

_CODEBOOKS = ("codebook", "codebook_effective", "codebooks")


@dataclass(frozen=True)
class Known:
    """What the options say of the tokenizer of a file."""

    fingerprint: str = UNKNOWN
    features: tuple[str, ...] = ()
    codebook: NDArray[np.float32] | None = None  # (Q, K, D)

    @property
    def sizes(self) -> dict[str, int]:
        """Q and K, where they are known."""
        if self.codebook is None:
            return {}
        return {"codebooks": self.codebook.shape[0], "size": self.codebook.shape[1]}


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a folder."""
    # not before: torch takes seconds to import
    from treasure.tokenizer.artefact import Tokenizer

    return Tokenizer.load(directory)


def known_of(options: Options) -> Known:
    """Tokenizer and codebook that the options name; nothing where they name none."""
    if options.tokenizer is not None:
        tokenizer = load_tokenizer(options.tokenizer)
        codebook = _stacked(tokenizer.codebook, options.tokenizer)
        if options.codebook is not None:
            given = codebook_of(options.codebook)
            if given.shape != codebook.shape or not np.array_equal(given, codebook):
                raise DataError(
                    f"{options.codebook}: its codebook is not that of {options.tokenizer}; give"
                    " the one that belongs to the tokens"
                )
        return Known(tokenizer.fingerprint, tuple(tokenizer.features), codebook)
    if options.codebook is not None:
        return Known(codebook=codebook_of(options.codebook))
    return Known()


def check_table(table: TokenTable, known: Known, options: Options) -> None:
    """The tokenizer or codebook that was given can be that of a token table."""
    said, where = table.metadata, options.tokenizer or options.codebook
    # of imported tokens, only the vocabulary may be known
    if said.tokenizer_fingerprint not in (known.fingerprint, UNKNOWN) and (
        known.fingerprint != UNKNOWN
    ):
        raise DataError(
            f"{table.path}: made with tokenizer {said.tokenizer_fingerprint[:10]}, but {where} is"
            f" {known.fingerprint[:10]}; give the tokenizer that made the tokens"
        )
    if known.sizes and known.sizes != {"codebooks": said.codebooks, "size": said.size}:
        raise DataError(
            f"{table.path}: {said.codebooks} codebook(s) of {said.size} codes, but {where} has"
            f" {known.sizes['codebooks']} of {known.sizes['size']}; give the one that made the"
            " tokens"
        )


def vocabulary_size(source: Path, stated: Mapping[str, int | None]) -> int:
    """K on which all who say it agree.

    Parameters
    ----------
    source
        The file of tokens, for messages.
    stated
        Who says it → K, or None.

    Raises
    ------
    DataError
        If nobody says it, or they differ, or it is out of range.
    """
    sizes = {who: size for who, size in stated.items() if size is not None}
    if not sizes:
        raise DataError(
            f"{source}: does not say how many codes its vocabulary has; give --vocabulary, or the"
            " --tokenizer or --codebook that it was made with"
        )
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{size} ({who})" for who, size in sizes.items())
        raise DataError(f"{source}: vocabularies that do not fit each other: {said}")
    size = next(iter(sizes.values()))
    if not 1 <= size <= MOST_CODES:
        raise DataError(f"{source}: a vocabulary of {size} codes; 1 to {MOST_CODES} are possible")
    return size


def codebook_of(path: Path) -> NDArray[np.float32]:
    """(Q, K, D) of an npz file."""
    arrays = read_npz(path, wanted=_CODEBOOKS)
    found = [arrays[name] for name in _CODEBOOKS if name in arrays]
    if not found:
        raise DataError(
            f"{path}: none of {', '.join(_CODEBOOKS)} is in it; a codebook was expected"
        )
    return _stacked(found[0], path)


def _stacked(codebook: NDArray[Any], where: Path) -> NDArray[np.float32]:
    if codebook.ndim not in (2, 3) or codebook.dtype.kind != "f":
        raise DataError(
            f"{where}: a codebook of {codebook.dtype} {codebook.shape}; expected floating-point"
            " numbers, (K, D) or (Q, K, D)"
        )
    if not np.isfinite(codebook).all():
        raise DataError(f"{where}: NaN or infinity in the codebook; get the file again")
    return np.asarray(codebook if codebook.ndim == 3 else codebook[None], dtype=np.float32)
