"""The tokens of jets as a PyTorch dataset: by number, or as a stream of batches."""

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from treasure.errors import ConfigError, DataError
from treasure.tokens.batches import Padding, Specials, packed, padded
from treasure.tokens.groups import RowGroups, Wanted
from treasure.tokens.places import token_files
from treasure.tokens.rows import TokenRows
from treasure.tokens.stream import Batch, TokenStream, tensors
from treasure.tokens.table import TokenMetadata

__all__ = ["Jets", "TokenDataset"]

_ITERATED = 1_000  # jets made into single ones at a time


class TokenDataset(Dataset[Batch]):
    """Jets of token files: their ids, and labels and jet features beside them.

    ``dataset[i]`` is a jet, ``dataset[[3, 1, 4]]`` and ``dataset[10:20]`` are padded batches, and
    `iterate` gives an epoch of batches. Row groups are read when they are needed, and every page of
    them is verified.

    Parameters
    ----------
    source
        A token file, a folder with such files below it, a release, a glob, or a URL of any of these
        (``https://``, ``root://``, ``hf://``, …), which is copied into a local cache; or a list.
    split
        ``train``, ``val``, ``test`` or ``unknown``; None: all.
    labels
        Classes that are wanted; None: all.
    datasets
        Names of datasets that are wanted; None: all.
    columns
        What is given beside the tokens: any columns of the token table. `split` is given as a
        number: 0 train, 1 val, 2 test, -1 unknown.
    specials
        Which special tokens stand around a jet: a list of ``bos`` and ``eos``, which get ids after
        those of the vocabulary (K is ``pad``, then ``bos``, then ``eos``), or names with ids.
    pad_to
        Length of padded jets, special tokens included; None: that of the longest in the batch.
    pad_to_multiple_of
        The length of the longest is rounded up to a multiple of this.
    cut
        Whether jets that are longer than `pad_to` lose their last tokens; else they are an error.
    tokenizer
        That must have made the tokens: a `treasure.Tokenizer`, its folder, or its fingerprint, of
        which the first ten digits will do.
    vocabulary
        Size K that the vocabulary must have.
    memory
        Bytes of row groups that a process keeps.
    cache
        Folder of copies of remote files; None: ``$TREASURE_CACHE/tokens``, else
        ``~/.cache/treasure/tokens``.

    Attributes
    ----------
    specials : Specials
        Ids of the special tokens.

    Raises
    ------
    DataError
        Naming the file that is missing, damaged, of a newer version, or does not fit the others.
    ConfigError
        For an option that cannot be.

    Examples
    --------
    >>> from treasure import TokenDataset                                        # doctest: +SKIP
    >>> dataset = TokenDataset("published/jets/v1", split="train")               # doctest: +SKIP
    >>> for batch in dataset.iterate(batch_size=256, shuffle=True, bucket=True):  # doctest: +SKIP
    ...     batch["tokens"], batch["mask"], batch["label"]
    """

    def __init__(
        self,
        source: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        split: str | None = None,
        labels: Sequence[int] | int | None = None,
        datasets: Sequence[str] | str | None = None,
        columns: Sequence[str] = Wanted.columns,
        specials: Sequence[str] | Mapping[str, int] = (),
        pad_to: int | None = None,
        pad_to_multiple_of: int = 1,
        cut: bool = False,
        tokenizer: Any = None,
        vocabulary: int | None = None,
        memory: int = RowGroups.memory,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        wanted = Wanted(
            split=split,
            labels=_several(labels),
            datasets=_several(datasets),
            columns=(columns,) if isinstance(columns, str) else tuple(dict.fromkeys(columns)),
        )
        self.padding = Padding(pad_to, pad_to_multiple_of, cut)
        paths = token_files(
            source, split, wanted.datasets, cache=None if cache is None else Path(cache)
        )
        self.row_groups = RowGroups(paths, wanted, memory)
        if wanted.labels and not len(self):
            known = ", ".join(map(str, wanted.labels))
            raise DataError(f"{source}: no rows of label {known} (and of what else was asked for)")
        _must_be(self.metadata, paths[0], _fingerprint(tokenizer), vocabulary)
        self.specials = Specials.of(specials, self.metadata.size)

    @property
    def metadata(self) -> TokenMetadata:
        """What the first file says of itself."""
        return self.row_groups.metadata

    @property
    def vocabulary_size(self) -> int:
        """Rows of an embedding that has a vector for every id, special ones included."""
        return max([self.metadata.size - 1, *self.specials.ids.values()]) + 1

    def __len__(self) -> int:
        """How many jets there are."""
        return len(self.row_groups)

    def __repr__(self) -> str:
        files = len({group.file for group in self.row_groups.groups})
        return (
            f"TokenDataset({len(self)} jets in {len(self.row_groups.groups)} row groups of {files}"
            f" files, {self.metadata.size} codes, special tokens {self.specials.ids})"
        )

    def __getitem__(self, index: Any) -> Batch:
        """A jet, or the padded batch of a slice or of many numbers.

        Returns
        -------
        dict
            `tokens` int64, (n,) or (n, Q) with Q codebooks; of a batch (B, L) or (B, L, Q), and
            `mask` (B, L) bool, false where there is padding; and the columns. With `pad_to`, a
            single jet is padded, too.
        """
        if isinstance(index, slice):
            return self.collate(self.rows(np.arange(len(self))[index]))
        if isinstance(index, (list, tuple, range, np.ndarray, torch.Tensor)) and np.ndim(index):
            return self.collate(self.rows(np.asarray(index)))
        try:
            number = operator.index(index)
        except (TypeError, ValueError):
            raise TypeError(f"{index!r} is no number of a jet, no slice and no list") from None
        return self._single(self.rows(np.array([number])))

    def __getitems__(self, indices: Sequence[int]) -> "Jets":
        """Many jets at once: what a torch ``DataLoader`` asks for, and gives to its collate_fn."""
        return Jets(self, self.rows(np.asarray(indices)))

    def __iter__(self) -> Iterator[Batch]:
        """One jet after the other, in the order of the files."""
        for first in range(0, len(self), _ITERATED):
            rows = self.rows(np.arange(first, min(first + _ITERATED, len(self))))
            yield from Jets(self, rows)

    def collate(self, jets: "Jets | TokenRows | Sequence[Batch]") -> Batch:
        """Make a padded batch: the ``collate_fn`` of a torch ``DataLoader`` over this dataset."""
        if isinstance(jets, Jets):
            jets = jets.rows
        if not isinstance(jets, TokenRows):
            raise TypeError("collate takes what a DataLoader over this very dataset gives")
        return tensors(padded(jets, self.specials, self.padding))

    def iterate(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        bucket: bool = False,
        layout: str = "padded",
        drop_last: bool = False,
        shuffle_jets: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> TokenStream:
        """Batches of all jets: to loop over, or for ``DataLoader(stream, batch_size=None, …)``.

        Parameters
        ----------
        batch_size
            Jets of a batch; the last one or two have fewer.
        shuffle
            Row groups in random order, and jets in random order among `shuffle_jets`.
        seed, epoch
            The order depends on them; `TokenStream.set_epoch` chooses the epoch.
        bucket
            Jets of a batch have about the same number of tokens, so that there is little padding.
            With `shuffle` the batches are in random order, else from short to long in each window.
        layout
            ``padded``: `tokens` (B, L) and `mask`; ``packed``: `tokens` (N,) and `offsets` (B + 1,)
            without padding.
        drop_last
            Leave out what does not fill a batch on every process. By default every jet is in one
            batch, and all processes have the same number of batches all the same (with two jets a
            batch or more), so that none waits for another.
        shuffle_jets
            How many jets are shuffled or sorted together, and so are in memory: 400,000 by default.
        rank, world_size
            Number of this process and how many there are; by default those of
            ``torch.distributed``, or of ``RANK`` and ``WORLD_SIZE``.

        Warns
        -----
        UserWarning
            When a pass begins that has no batch, as with `drop_last` and fewer jets than a batch.
        """
        return TokenStream(
            self,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            epoch=epoch,
            bucket=bucket,
            layout=layout,
            drop_last=drop_last,
            window=shuffle_jets,
            rank=rank,
            world_size=world_size,
        )

    def rows(self, numbers: np.ndarray) -> TokenRows:
        """Jets of the given numbers as numpy arrays, each row group read once.

        Raises
        ------
        IndexError
            If there is no such jet; negative numbers count from the end.
        """
        if numbers.dtype == bool:
            if numbers.shape != (len(self),):
                raise IndexError(f"a mask of shape {numbers.shape}; there are {len(self)} jets")
            numbers = np.flatnonzero(numbers)
        elif (numbers.size and numbers.dtype.kind not in "iu") or numbers.ndim != 1:
            raise TypeError(f"{numbers.dtype} of shape {numbers.shape}; expected numbers of jets")
        numbers = numbers.astype(np.int64)
        wrong = (numbers < -len(self)) | (numbers >= len(self))
        if wrong.any():
            raise IndexError(f"no jet {int(numbers[wrong][0])}; there are {len(self)}")
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        if not len(numbers):
            return self._empty
        starts = self.row_groups.starts
        groups = np.searchsorted(starts, numbers, side="right") - 1
        parts, places = [], []
        for group in np.unique(groups):
            mine = np.flatnonzero(groups == group)
            rows = self.row_groups.read(int(group)).take(numbers[mine] - starts[group])
            parts.append(rows.compact())
            places.append(mine)
        if len(parts) == 1:
            return parts[0]
        return TokenRows.joined(parts).take(np.argsort(np.concatenate(places), kind="stable"))

    @cached_property
    def _empty(self) -> TokenRows:
        shape = (0,) if self.metadata.codebooks == 1 else (0, self.metadata.codebooks)
        nothing = {name: np.zeros(0) for name in self.row_groups.wanted.columns}
        none = np.zeros(0, dtype=np.int64)
        return TokenRows(np.zeros(shape, dtype=np.int32), none, none, nothing)

    def _single(self, rows: TokenRows) -> Batch:
        """The only jet of some rows."""
        if self.padding.to is not None:
            return {name: values[0] for name, values in self.collate(rows).items()}
        found = tensors(packed(rows, self.specials))
        del found["offsets"]
        return {name: v if name == "tokens" else v[0] for name, v in found.items()}


class Jets(Sequence[Batch]):
    """Jets of a dataset, each made into tensors when it is asked for.

    Any ``collate_fn`` can go through them; `TokenDataset.collate` takes them all at once.
    """

    def __init__(self, dataset: TokenDataset, rows: TokenRows) -> None:
        self.dataset, self.rows = dataset, rows
        self._made: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        if number not in self._made:  # collate functions ask once for every key
            self._made[number] = self.dataset._single(self.rows.slice(number, number + 1))
        return self._made[number]


def _several(values: Any) -> tuple[Any, ...] | None:
    """One value or several as a tuple; None stands for all."""
    return values if values is None else tuple(np.atleast_1d(np.asarray(values)).tolist())


def _fingerprint(tokenizer: Any) -> str | None:
    """Of what a user calls a tokenizer; perhaps its first digits alone."""
    found = getattr(tokenizer, "fingerprint", tokenizer)
    if found is None or (isinstance(found, str) and re.fullmatch("[0-9a-f]{10,64}", found)):
        return found
    if isinstance(found, (str, PathLike)) and (Path(found) / "tokenizer.json").is_file():
        from treasure.tokenizer.saved import read_description

        return str(read_description(Path(found))["fingerprint"])
    raise ConfigError(
        f"tokenizer {tokenizer!r}; expected a treasure.Tokenizer, its folder, or ten digits or more"
        " of its fingerprint"
    )


def _must_be(
    metadata: TokenMetadata, path: Path, tokenizer: str | None, vocabulary: int | None
) -> None:
    """The tokens are those that the user has a model or a tokenizer for."""
    if tokenizer is not None and not metadata.tokenizer_fingerprint.startswith(tokenizer):
        raise DataError(
            f"{path}: tokens of tokenizer {metadata.tokenizer_fingerprint[:10]}, but"
            f" {tokenizer[:10]} was asked for; tokenize with that one, or load its tokens"
        )
    if vocabulary is not None and metadata.size != vocabulary:
        raise DataError(
            f"{path}: a vocabulary of {metadata.size} ids, but {vocabulary} were asked for"
        )
