"""Compare the QCD simulation with CMS simulation: jets and their particles.

    python docs/scripts/compare_simulation.py CMS_PFNANO.root docs/figures/simulation_qcd.png

The CMS file is PFNano of layout A with QCD jets of 1.2-1.8 TeV. Jets of the same pT are simulated
for the comparison, which takes a few minutes.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import awkward as ak
import matplotlib.pyplot as plt
import mplhep
import numpy as np
import numpy.typing as npt
import uproot

from treasure.config.simulation import SimulationSource
from treasure.simulation.generate import simulate_file
from treasure.store import write_bytes

PT_RANGE = (1200.0, 1800.0)
SOURCE = SimulationSource(
    process="qcd",
    events_per_file=1500,
    pthat_min=1200.0,
    pthat_max=1900.0,
    bias_power=4.0,
    bias_reference=1200.0,
)

JET_COLUMNS = ("pt", "eta", "mass", "msoftdrop", "tau1", "tau2", "tau3", "rawFactor")
CANDIDATE_COLUMNS = (
    "pt", "charge", "pdgId", "d0", "d0Err", "dz", "dzErr", "puppiWeight",
)  # fmt: skip
Values = dict[str, npt.NDArray[np.float64]]


def quantities(path: Path) -> tuple[Values, int]:
    """What is compared, flat arrays by name, and the number of jets."""
    names = [f"FatJet_{c}" for c in JET_COLUMNS] + [f"PFCands_{c}" for c in CANDIDATE_COLUMNS]
    names += ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"]
    events = uproot.open({path: "Events"}).arrays(names)
    pt = events.FatJet_pt
    chosen = (pt > PT_RANGE[0]) & (pt < PT_RANGE[1]) & (abs(events.FatJet_eta) < 2.5)
    link = chosen[events.FatJetPFCands_jetIdx]
    index = events.FatJetPFCands_pFCandsIdx[link]

    def jet(name: str) -> npt.NDArray[np.float64]:
        return ak.to_numpy(ak.flatten(events[f"FatJet_{name}"][chosen])).astype(np.float64)

    def candidate(name: str) -> npt.NDArray[np.float64]:
        return ak.to_numpy(ak.flatten(events[f"PFCands_{name}"][index])).astype(np.float64)

    count = ak.num(pt).to_numpy()
    first = np.repeat(np.cumsum(count) - count, ak.num(index).to_numpy())
    owner = first + ak.to_numpy(ak.flatten(events.FatJetPFCands_jetIdx[link]))
    owner = np.unique(owner, return_inverse=True)[1]
    n_jets = len(jet("pt"))
    kind, charge = np.abs(candidate("pdgId")), candidate("charge")
    tracks = candidate("d0Err") > 0

    def multiplicity(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return np.bincount(owner[mask], minlength=n_jets).astype(np.float64)

    weighted_pt = candidate("pt") * candidate("puppiWeight")

    def share(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        total = np.bincount(owner, weighted_pt, n_jets)
        return np.bincount(owner[mask], weighted_pt[mask], n_jets) / total

    # The soft-drop and jet masses of CMS are calibrated; relative to pT they compare.
    values = {
        "n_charged": multiplicity(charge != 0),
        "n_photons": multiplicity(kind == 22),
        "n_neutral_hadrons": multiplicity(kind == 130),
        "pt_charged": np.log10(weighted_pt[charge != 0]),
        "pt_photons": np.log10(weighted_pt[kind == 22]),
        "pt_neutral_hadrons": np.log10(weighted_pt[kind == 130]),
        "share_charged": share(charge != 0),
        "share_photons": share(kind == 22),
        "share_neutral_hadrons": share(kind == 130),
        "d0_significance": candidate("d0")[tracks] / candidate("d0Err")[tracks],
        "dz_significance": candidate("dz")[tracks] / candidate("dzErr")[tracks],
        "d0_error": np.log10(candidate("d0Err")[tracks] * 1e4),
        "mass": jet("mass") / jet("pt"),
        "softdrop_mass": np.log10(np.maximum(jet("msoftdrop"), 0.1) / jet("pt")),
        "tau21": jet("tau2") / jet("tau1"),
        "tau32": jet("tau3") / jet("tau2"),
    }
    return values, n_jets


#: Name, axis label, bin edges; particles are counted per jet, jets as a share of all.
PANELS = (
    ("n_charged", "charged candidates", np.linspace(0, 100, 11)),
    ("n_photons", "photons", np.linspace(0, 60, 11)),
    ("n_neutral_hadrons", "neutral hadrons", np.linspace(-0.5, 23.5, 9)),
    ("tau21", r"$\tau_2/\tau_1$", np.linspace(0, 1, 9)),
    ("pt_charged", r"charged: $\log_{10}\,p_T$ / GeV", np.linspace(-0.75, 3, 16)),
    ("pt_photons", r"photons: $\log_{10}\,p_T$ / GeV", np.linspace(-0.75, 3, 16)),
    ("pt_neutral_hadrons", r"neutral hadrons: $\log_{10}\,p_T$ / GeV", np.linspace(-0.75, 3, 16)),
    ("tau32", r"$\tau_3/\tau_2$", np.linspace(0, 1, 9)),
    ("share_charged", r"charged: share of jet $p_T$", np.linspace(0, 1, 9)),
    ("share_photons", r"photons: share of jet $p_T$", np.linspace(0, 1, 9)),
    ("share_neutral_hadrons", r"neutral hadrons: share of jet $p_T$", np.linspace(0, 1, 9)),
    ("mass", r"jet mass / $p_T$", np.linspace(0, 0.3, 9)),
    ("d0_error", r"$\log_{10}\,\sigma(d_0)$ / $\mu$m", np.linspace(0.8, 3.2, 13)),
    ("d0_significance", r"$d_0/\sigma(d_0)$", np.linspace(-10, 10, 21)),
    ("dz_significance", r"$d_z/\sigma(d_z)$", np.linspace(-10, 10, 21)),
    ("softdrop_mass", r"$\log_{10}$ soft-drop mass / $p_T$", np.linspace(-4, 0, 9)),
)
JET_QUANTITIES = ("n_", "tau", "share", "mass", "softdrop")


def draw(cms: tuple[Values, int], ours: tuple[Values, int], path: Path) -> None:
    """One panel a quantity, densities with statistical uncertainties."""
    mplhep.style.use("CMS")
    figure, axes = plt.subplots(4, 4, figsize=(32, 30))
    for axis, (name, label, edges) in zip(axes.flat, PANELS, strict=True):
        per_jet = not name.startswith(JET_QUANTITIES)
        for (values, n_jets), title, style in (
            (ours, "this simulation", {"histtype": "step", "color": "C0", "lw": 3}),
            (cms, "CMS simulation", {"histtype": "errorbar", "color": "black", "capsize": 4}),
        ):
            inside = np.clip(values[name], edges[0], edges[-1] - 1e-9)
            weight = 1.0 / n_jets
            counts = np.histogram(inside, edges)[0]
            mplhep.histplot(
                counts * weight, edges, ax=axis, label=title, yerr=np.sqrt(counts) * weight, **style
            )
        axis.set_xlabel(label)
        axis.set_ylabel("particles / jet" if per_jet else "share of jets")
        axis.set_xlim(edges[0], edges[-1])
        if "significance" in name:
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, None)
    axes.flat[0].legend()
    figure.suptitle(
        f"QCD, AK8 jets, {PT_RANGE[0] / 1000:.1f} < $p_T$ < {PT_RANGE[1] / 1000:.1f} TeV: "
        f"{cms[1]} jets of CMS, {ours[1]} of this simulation; last bins hold the overflow",
        fontsize=34,
    )
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def main() -> None:
    cms_file, figure = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(directory) / "qcd.root"
        if not path.exists():
            simulate_file(SOURCE, seed=1, branch=0, path=path)
        draw(quantities(cms_file), quantities(path), figure)


if __name__ == "__main__":
    main()
