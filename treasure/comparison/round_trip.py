"""Jets to tokens and back, with the clock running."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.benchmark.training import one_thread
from treasure.comparison.choice import ChosenJets
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.particles import Particles, owners

__all__ = ["RoundTrip", "round_trip", "select"]

# Jets between two reports of progress; no token depends on it.
_JETS_AT_ONCE = 500
# Jets that go through first, so that no clock sees compilers and copies of networks.
_WARM_UP = 8


@dataclass(frozen=True)
class RoundTrip:
    """What a tokenizer made of jets.

    Attributes
    ----------
    momenta : (P, 4) float32
        Decoded px, py, pz, E [GeV] of all jets.
    ids : (P_test,) or (P_test, Q) int64
        Tokens of the test jets.
    original, decoded : (P_test, F) float64
        Raw features of the test jets (clipped) before and after, without calibration.
    clipped
        Particles of the test jets outside the range of the features.
    encode_rate, decode_rate
        Test jets per second of one CPU thread (or of the tokenizer's device).
    """

    momenta: NDArray[np.float32]
    ids: NDArray[np.int64]
    original: NDArray[np.float64]
    decoded: NDArray[np.float64]
    clipped: int
    encode_rate: float
    decode_rate: float


def select(particles: Particles, jets: NDArray[np.bool_]) -> Particles:
    """Particles of the jets for which the mask (N,) is true."""
    return particles.part(jets[owners(particles.counts)], jets)


def round_trip(
    tokenizer: Tokenizer,
    jets: ChosenJets,
    progress: Callable[[int, int], None] | None = None,
) -> RoundTrip:
    """Encode and decode all jets; torch has one thread, so that rates and bits are comparable.

    Parameters
    ----------
    tokenizer : Tokenizer
    jets : ChosenJets
    progress : callable, optional
        Called with (jets done, jets in all).
    """
    test = jets.test
    with one_thread():
        _there_and_back(tokenizer, select(jets.particles, np.arange(len(jets)) < _WARM_UP), None)
        momenta = np.zeros((len(jets.particles.momenta), 4), dtype=np.float32)
        of_test = test[owners(jets.particles.counts)]
        done = 0

        def report(jets_done: int) -> None:
            if progress is not None:
                progress(done + jets_done, len(jets))

        sample = select(jets.particles, test)
        tested = _there_and_back(tokenizer, sample, report)
        momenta[of_test] = tested.momenta
        done = len(sample)
        momenta[~of_test] = _there_and_back(
            tokenizer, select(jets.particles, ~test), report
        ).momenta
        decoded = tokenizer.decode_features(tested.ids, sample.counts)
    return RoundTrip(
        momenta=momenta,
        ids=tested.ids,
        original=tokenizer.feature_set.clipped(sample)[0],
        decoded=decoded,
        clipped=tested.clipped,
        encode_rate=len(sample) / max(tested.encoding, 1e-9),
        decode_rate=len(sample) / max(tested.decoding, 1e-9),
    )


@dataclass(frozen=True)
class _Passage:
    """Tokens and decoded momenta of jets, and the seconds that each way took."""

    ids: NDArray[np.int64]
    momenta: NDArray[np.float32]
    clipped: int
    encoding: float
    decoding: float


def _there_and_back(
    tokenizer: Tokenizer, particles: Particles, report: Callable[[int], None] | None
) -> _Passage:
    shape: tuple[Any, ...] = () if tokenizer.codebooks == 1 else (tokenizer.codebooks,)
    ids = np.zeros((len(particles.momenta), *shape), dtype=np.int64)
    momenta = np.zeros((len(particles.momenta), 4), dtype=np.float32)
    ends = np.cumsum(particles.counts)
    clipped, encoding, decoding = 0, 0.0, 0.0
    for first in range(0, len(particles), _JETS_AT_ONCE):
        jets = slice(first, min(first + _JETS_AT_ONCE, len(particles)))
        counts, axes = particles.counts[jets], particles.axes[jets]
        rows = slice(ends[jets.start] - counts[0], ends[jets.stop - 1])
        start = time.perf_counter()
        tokens, outside = tokenizer.encode_particles(particles.part(rows, jets))
        found = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=1))).astype(np.int64)
        encoded = time.perf_counter()
        momenta[rows] = tokenizer.decode_packed(found, counts, axes)
        decoding += time.perf_counter() - encoded
        encoding += encoded - start
        ids[rows] = found.reshape(ids[rows].shape)
        clipped += outside
        if report is not None:
            report(jets.stop)
    return _Passage(ids, momenta, clipped, encoding, decoding)
