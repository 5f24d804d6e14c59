"""Observables of a jet that a tokenizer should keep: pT, mass, groomed mass, N-subjettiness."""

from __future__ import annotations

from typing import Any

import awkward as ak
import fastjet
import fastjet._swig
import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.tokenizer.calibration import jet_pt_mass

__all__ = ["OBSERVABLES", "RADIUS", "jet_observables"]

# FastJet (arXiv:1111.6097) greets every process with twelve lines on standard output.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)

OBSERVABLES = ("pt", "mass", "softdrop_mass", "tau21", "tau32")
"""What `jet_observables` returns, in this order."""

RADIUS = 0.8
"""Radius of the jets: of soft drop, N-subjettiness and the energy-flow distance."""

# Soft drop (arXiv:1402.2657) as CMS grooms AK8 jets: beta 0 is the modified mass drop tagger.
_SYMMETRY_CUT, _BETA = 0.1, 0.0
# All particles in one tree: with the radius of the jet, Cambridge/Aachen may split some off.
_RECLUSTERING_RADIUS = 10.0
# Jets clustered at once: bounds the memory, changes no number.
_JETS_AT_ONCE = 2_000


def jet_observables(
    momenta: NDArray[np.floating[Any]], counts: NDArray[np.integer[Any]]
) -> dict[str, NDArray[np.float64]]:
    """Observables of packed jets.

    Parameters
    ----------
    momenta : (P, 4)
        px, py, pz, E in GeV.
    counts : (N,)
        Particles of each jet.

    Returns
    -------
    dict of str to (N,) float64
        `pt`, `mass` [GeV] of the sum of the particles; `softdrop_mass` [GeV] (Cambridge/Aachen,
        symmetry cut 0.1, beta 0; arXiv:1402.2657), NaN for an empty jet; `tau21`, `tau32`, ratios
        of N-subjettiness (normalised measure, beta 1, R0 0.8, one-pass kT axes; arXiv:1011.2268),
        NaN below two and three particles, and where the denominator is 0.

    Raises
    ------
    DataError
        If a momentum is NaN or infinite: FastJet crashes on those.
    """
    if not np.isfinite(momenta).all():
        bad = int((~np.isfinite(momenta)).any(axis=1).sum())
        raise DataError(f"{bad} of {len(momenta)} particles have momenta that are NaN or infinite")
    pt, mass = jet_pt_mass(momenta, counts)
    groomed = np.full(len(counts), np.nan)
    taus = np.full((len(counts), 3), np.nan)
    filled = np.flatnonzero(np.asarray(counts) > 0)
    ends = np.cumsum(counts)
    for first in range(0, len(filled), _JETS_AT_ONCE):
        jets = filled[first : first + _JETS_AT_ONCE]
        rows = slice(ends[jets[0]] - counts[jets[0]], ends[jets[-1]])  # empty jets have no rows
        groomed[jets], taus[jets] = _substructure(momenta[rows], counts[jets])
    number = np.asarray(counts)
    return {
        "pt": pt,
        "mass": mass,
        "softdrop_mass": groomed,
        "tau21": _ratio(taus[:, 1], taus[:, 0], number >= 2),
        "tau32": _ratio(taus[:, 2], taus[:, 1], number >= 3),
    }


def _substructure(
    momenta: NDArray[np.floating[Any]], counts: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Soft-drop mass (N,) and tau1, tau2, tau3 (N, 3) of jets with at least one particle."""
    values = momenta.astype(np.float64)
    fields = {name: values[:, i] for i, name in enumerate(("px", "py", "pz", "E"))}
    jets = ak.unflatten(ak.zip(fields, with_name="Momentum4D"), counts)
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, _RECLUSTERING_RADIUS)
    clusters = fastjet.ClusterSequence(jets, definition)
    groomed = clusters.exclusive_jets_softdrop_grooming(
        njets=1, beta=_BETA, symmetry_cut=_SYMMETRY_CUT, R0=RADIUS
    )
    taus = clusters.njettiness(njets=[1, 2, 3], beta=1.0, R0=RADIUS)
    # Rounding leaves those of one or few massless particles slightly below zero.
    return (
        np.maximum(ak.to_numpy(groomed.msoftdrop), 0.0),
        np.maximum(ak.to_numpy(taus), 0.0),
    )


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    usable = usable & (below > 0)
    return np.divide(above, below, out=np.full(len(above), np.nan), where=usable)
