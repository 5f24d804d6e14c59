"""What is measured on original jets, once for all tokenizers that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.comparison.choice import ChosenJets, choose_jets
from treasure.comparison.tagging import Scores, aucs, scores_of_test, tagging_sample, xval_sample
from treasure.config.benchmark import TaggerConfig
from treasure.config.measurement import MeasurementConfig
from treasure.errors import DataError
from treasure.store import atomic_file, checksums, fingerprint, read_json, write_json

__all__ = ["XVAL_BITS", "Originals", "identity", "measure_originals", "originals_of"]

XVAL_BITS = 96
"""Bits of a particle as continuous numbers: pT, Δη and Δφ in float32; the rest follows."""

_DESCRIPTION, _SCORES = "originals.json", "originals.npz"


@dataclass(frozen=True)
class Originals:
    """Top tagging on original jets.

    Attributes
    ----------
    identity
        SHA-256 of the jets, the tagger and the seeds: only what has the same is comparable.
    labels : (n_test,) int64
        0 background, 1 signal.
    scores : dict of str to (seeds, n_test) float32
        "original", and "xval" if measured.
    metrics : dict of str to float
        Flat: `jets`, `auc_original`, `auc_original_error`; with xval also `auc_xval`,
        `auc_xval_error`, `auc_xval_lost`, `auc_xval_lost_error`, `auc_xval_lost_std` (with respect
        to the original) and `xval_bits`.
    """

    identity: str
    labels: NDArray[np.int64]
    scores: dict[str, Scores]
    metrics: dict[str, float]

    def save(self, directory: Path) -> None:
        """Write ``originals.npz`` and then ``originals.json``, which has its checksums."""
        with atomic_file(directory / _SCORES) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, labels=self.labels, **self.scores)
        content = {
            "identity": self.identity,
            "metrics": self.metrics,
            "files": {_SCORES: checksums(directory / _SCORES)},
        }
        write_json(directory / _DESCRIPTION, content)

    @classmethod
    def load(cls, directory: Path) -> Originals:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If a file is missing, damaged, or not the other's.
        """
        content: Any = read_json(directory / _DESCRIPTION)
        path = directory / _SCORES
        try:
            identity, metrics = str(content["identity"]), dict(content["metrics"])
            expected = content["files"][_SCORES]
        except (KeyError, TypeError) as error:
            raise DataError(f"{directory / _DESCRIPTION}: not of original jets: {error}") from error
        if not path.is_file() or checksums(path) != expected:
            raise DataError(f"{path}: missing, damaged, or not the file of {_DESCRIPTION}")
        with np.load(path, allow_pickle=False) as arrays:
            scores = {name: arrays[name] for name in arrays.files}
        return cls(identity, scores.pop("labels"), scores, metrics)


def measure_originals(
    jet_tables: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    tagger: TaggerConfig,
    config: MeasurementConfig,
    *,
    seed: int,
    directory: Path | None = None,
    xval: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Originals:
    """Train the tagger on original jets.

    Parameters
    ----------
    jet_tables : mapping of str to sequence of Path
        Jet tables of each dataset.
    labels : mapping of str to int
        Class of each dataset: 0 background, 1 signal; others are not used.
    tagger : TaggerConfig
    config : MeasurementConfig
        With `classifiers`.
    seed : int
    directory : Path, optional
        Trainings are kept in ``trainings/`` of it, and the result is saved there.
    xval : bool
        Also with the numbers of each particle as scaled embeddings (arXiv:2310.02989).
    progress : callable, optional
        Called with (epochs done, epochs in all).

    Raises
    ------
    DataError
        If a class or split has no jet.
    """
    jets = choose_jets(
        jet_tables, labels, config.model_copy(update={"classifiers": True}), seed=seed
    )
    return originals_of(
        jets, tagger, config, seed=seed, directory=directory, xval=xval, progress=progress
    )


def originals_of(
    jets: ChosenJets,
    tagger: TaggerConfig,
    config: MeasurementConfig,
    *,
    seed: int,
    directory: Path | None = None,
    xval: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Originals:
    """Train the tagger on chosen jets; see `measure_originals`."""
    samples = {"original": tagging_sample(jets.particles.momenta, jets, config.max_particles)}
    if xval:
        samples["xval"] = xval_sample(jets, config.max_particles)
    scores = scores_of_test(
        samples,
        tagger,
        config,
        seed=seed,
        directory=directory / "trainings" if directory else None,
        progress=progress,
    )
    labels = jets.labels[jets.test]
    found = aucs(labels, scores, reference="original", resamplings=config.bootstrap, seed=seed)
    metrics = {"jets": len(labels), **{f"auc_{name}": value for name, value in found.items()}}
    if xval:
        metrics["xval_bits"] = XVAL_BITS
    result = Originals(identity(jets, tagger, config, seed=seed), labels, scores, metrics)
    if directory is not None:
        result.save(directory)
    return result


def identity(
    jets: ChosenJets, tagger: TaggerConfig, config: MeasurementConfig, *, seed: int
) -> str:
    """SHA-256 of all that scores of original jets depend on."""
    return fingerprint(
        {
            "jets": jets.digest(),
            "tagger": tagger.model_dump(mode="json"),
            "tagger_seeds": list(config.tagger_seeds),
            "max_particles": config.max_particles,
            "seed": seed,
        }
    )
