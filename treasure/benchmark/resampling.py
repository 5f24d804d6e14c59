"""Resampling of the classes to the same jet-pT spectrum, so that a tagger cannot live on pT."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from treasure.errors import DataError

__all__ = ["equal_spectra"]


def equal_spectra(
    jet_pt: npt.ArrayLike,
    labels: npt.ArrayLike,
    splits: npt.ArrayLike,
    *,
    bin_width: float,
    seed: int,
    max_jets: int | None = None,
) -> npt.NDArray[np.int64]:
    """Choose jets such that in each split and pT bin both classes have the same number of jets.

    In every bin the class with fewer jets keeps all of them, and the other keeps a random subset of
    the same size: accept/reject with the ratio of the spectra as probability, without its
    fluctuations.

    Parameters
    ----------
    jet_pt : array_like, shape (n,)
        Jet pT [GeV], finite.
    labels : array_like of int, shape (n,)
        0 (background) or 1 (signal).
    splits : array_like of int, shape (n,)
        0 (train), 1 (val) or 2 (test).
    bin_width : float
        Width [GeV] of the bins, which begin at 0.
    seed : int
        The same seed gives the same jets.
    max_jets : int, optional
        Most jets per class and split; every bin is thinned by the same factor.

    Returns
    -------
    array of int64
        Indices of the chosen jets, ascending.

    Raises
    ------
    DataError
        If a pT is not finite.
    """
    pt = np.asarray(jet_pt, dtype=np.float64)
    label, split = np.asarray(labels), np.asarray(splits)
    if not np.isfinite(pt).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(pt))} of {pt.size} jet pT are not finite")
    pt_bin = np.floor_divide(pt, bin_width).astype(np.int64)
    chosen = [
        _equal_bins(
            np.flatnonzero(split == number), pt_bin, label, np.random.default_rng([seed, number]),
            max_jets,
        )
        for number in np.unique(split)
    ]  # fmt: skip
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def _equal_bins(
    jets: npt.NDArray[np.int64],
    pt_bin: npt.NDArray[np.int64],
    label: npt.NDArray[Any],
    generator: np.random.Generator,
    max_jets: int | None,
) -> npt.NDArray[np.int64]:
    """Return the chosen ones of `jets`, the jets of one split."""
    jets = generator.permutation(jets)
    _, bins = np.unique(pt_bin[jets], return_inverse=True)
    n_bins = int(bins.max(initial=-1)) + 1
    counts = np.stack([np.bincount(bins[label[jets] == c], minlength=n_bins) for c in (0, 1)])
    keep = counts.min(axis=0)
    total = int(keep.sum())
    if max_jets is not None and total > max_jets:
        keep = keep * max_jets // total
    result = []
    for value in (0, 1):
        members, member_bins = jets[label[jets] == value], bins[label[jets] == value]
        order = np.argsort(member_bins, kind="stable")
        first = np.concatenate([[0], np.cumsum(counts[value])[:-1]])
        rank = np.arange(len(order)) - first[member_bins[order]]
        result.append(members[order][rank < keep[member_bins[order]]])
    return np.concatenate(result)
