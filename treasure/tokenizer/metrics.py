"""How well tokens keep the physics of test jets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import fastjet
import fastjet._swig
import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import Calibration, jet_pt_mass
from treasure.tokenizer.jetdata import Jets
from treasure.tokenizer.particles import owners

__all__ = ["Reconstruction", "measure", "reconstruct", "response", "tau32", "tau32_sample"]

# FastJet (arXiv:1111.6097) greets every process with twelve lines on standard output.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)

RADIUS = 0.8
_TAU_JETS = 2_000


@dataclass(frozen=True)
class Reconstruction:
    """Jets after a round trip.

    Attributes
    ----------
    ids : (P,) or (P, Q) int64
    original, decoded : (P, F) float64
        Raw features (clipped) before and after, without calibration.
    momenta : (P, 4) float32
        Decoded px, py, pz, E in GeV, calibrated.
    clipped
        Particles that lay outside the range of the features.
    """

    ids: NDArray[np.int64]
    original: NDArray[np.float64]
    decoded: NDArray[np.float64]
    momenta: NDArray[np.float32]
    clipped: int

    def momenta_with(
        self, tokenizer: Tokenizer, jets: Jets, calibration: Calibration
    ) -> NDArray[np.float64]:
        """Decoded px, py, pz, E (P, 4) under another calibration."""
        axes = jets.particles.axes[owners(jets.particles.counts)]
        return tokenizer.feature_set.momenta(self.decoded, axes, calibration)


def reconstruct(tokenizer: Tokenizer, jets: Jets, *, constrained: bool = True) -> Reconstruction:
    """Encode and decode jets, with or without the constraint on the jet that it has."""
    tokens, clipped = tokenizer.encode_particles(jets.particles, constrained=constrained)
    ids = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=1))).astype(np.int64)
    counts, axes = jets.particles.counts, jets.particles.axes
    return Reconstruction(
        ids=ids,
        original=tokenizer.feature_set.clipped(jets.particles)[0],
        decoded=tokenizer.decode_features(ids, counts),
        momenta=tokenizer.decode_packed(ids, counts, axes),
        clipped=clipped,
    )


def response(decoded: NDArray[np.floating], original: NDArray[np.floating]) -> dict[str, float]:
    """Median of decoded / original, and its interquartile range over the median.

    Jets where the original is 0 have no response and are left out; both are 0 if none is left.
    """
    usable = original > 0
    if not usable.any():
        return {"median": 0.0, "iqr_over_median": 0.0}
    low, median, high = np.percentile(decoded[usable] / original[usable], [25, 50, 75])
    return {
        "median": float(median),
        "iqr_over_median": float((high - low) / median) if median > 0 else 0.0,
    }


def tau32(momenta: NDArray[np.floating], counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """N-subjettiness ratio tau3 / tau2 of packed jets (N,), NaN below three particles.

    Normalised measure with beta 1 and R0 0.8, one-pass kT axes (arXiv:1011.2268, 1108.2701).
    """
    result = np.full(len(counts), np.nan)
    enough = np.asarray(counts) >= 3
    if not enough.any():
        return result
    rows = enough[owners(counts)]
    values = momenta[rows].astype(np.float64)
    fields = {name: values[:, i] for i, name in enumerate(("px", "py", "pz", "E"))}
    jets = ak.unflatten(ak.zip(fields, with_name="Momentum4D"), counts[enough])
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    clusters = fastjet.ClusterSequence(jets, definition)
    taus = clusters.njettiness(njets=[2, 3], beta=1.0, R0=RADIUS)
    taus = ak.to_numpy(taus)
    with np.errstate(divide="ignore", invalid="ignore"):
        result[enough] = np.where(taus[:, 0] > 0, taus[:, 1] / taus[:, 0], np.nan)
    return result


def tau32_sample(
    jets: Jets, found: Reconstruction
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """tau32 of at most 2,000 jets, evenly spaced, originally and decoded, where both exist."""
    chosen = np.zeros(len(jets), dtype=bool)
    chosen[np.linspace(0, len(jets) - 1, min(len(jets), _TAU_JETS)).astype(np.int64)] = True
    counts = jets.particles.counts
    rows = chosen[owners(counts)]
    before = tau32(jets.particles.momenta[rows], counts[chosen])
    after = tau32(found.momenta[rows], counts[chosen])
    both = np.isfinite(before) & np.isfinite(after)
    return before[both], after[both]


def measure(
    tokenizer: Tokenizer,
    jets: Jets,
    found: Reconstruction,
    taus: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    names: Sequence[str],
) -> dict[str, Any]:
    """Metrics of a reconstruction, as ``metrics.json`` has them.

    Parameters
    ----------
    tokenizer, jets, found
        The tokenizer, the jets, and what `reconstruct` made of them.
    taus
        tau32 of some of the jets before and after, see `tau32_sample`.
    names
        Datasets by number.
    """
    counts = jets.particles.counts
    pt, mass = jet_pt_mass(jets.particles.momenta, counts)
    decoded_pt, decoded_mass = jet_pt_mass(found.momenta, counts)
    groups = {"all": np.ones(len(jets), dtype=bool)}
    groups |= {name: jets.dataset == number for number, name in enumerate(names)}
    shares = np.bincount(found.ids.reshape(-1), minlength=tokenizer.vocabulary_size)
    probability = shares[shares > 0] / max(shares.sum(), 1)
    entropy = float(-(probability * np.log2(probability)).sum())
    difference = found.decoded - found.original
    return {
        "jets": len(jets),
        "particles": len(found.ids),
        "clipped_particles": found.clipped,
        "codes": tokenizer.vocabulary_size,
        "codes_used": int((shares > 0).sum()),
        "entropy_bits": entropy,
        "perplexity": float(2**entropy),
        "resolution": {
            name: {
                "rms": float(np.sqrt((difference[:, i] ** 2).mean())) if len(difference) else 0.0,
                "bias": float(difference[:, i].mean()) if len(difference) else 0.0,
            }
            for i, name in enumerate(tokenizer.features)
        },
        "agreement": tokenizer.feature_set.agreement(found.original, found.decoded),
        "response": {
            name: {
                "jet_pt": response(decoded_pt[group], pt[group]),
                "jet_mass": response(decoded_mass[group], mass[group]),
            }
            for name, group in groups.items()
        },
        "tau32": {
            "jets": len(taus[0]),
            "original_median": float(np.median(taus[0])) if len(taus[0]) else 0.0,
            "response": response(taus[1], taus[0]),
        },
        "calibration": tokenizer.calibration.model_dump(mode="json"),
    }
