"""The same events in the input layouts A, B, C and D."""

from pathlib import Path

import numpy as np

from tests.layout_a import FILTERS, TAGGERS, TRIGGERS, write_events

KINDS = ("A", "B", "C", "D")
COLUMNS = (
    "pt", "eta", "phi", "mass", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight",
)  # fmt: skip
# What NanoAOD 15 calls the scores of NanoAOD 9.
NEW_NAMES = {f"particleNet_{name}": f"particleNetWithMass_{name}" for name in TAGGERS[:-1]}
NEW_NAMES["particleNet_mass"] = "particleNetLegacy_mass"


def separated_events(
    n_events: int = 20, *, seed: int = 1, candidates: tuple[int, int] = (0, 12), jets: int = 3
) -> dict:
    """Events in layout A whose jets are apart, each one cluster of its candidates, or empty."""
    rng = np.random.default_rng([seed, n_events, 7])
    events: dict = {name: [True] * n_events for name in (*FILTERS, *TRIGGERS)}
    events |= {"FatJet": [], "PFCands": [], "FatJetPFCands": []}
    for _ in range(n_events):
        fat_jets: list[dict] = []
        rows: list[tuple[int, dict]] = []  # jet (or -1) and candidate
        start = rng.uniform(0, 2 * np.pi)
        for jet in range(int(rng.integers(0, jets + 1))):
            n = int(rng.integers(candidates[0], candidates[1] + 1))
            eta = rng.uniform(-2, 2)
            phi = (start + jet * 2 * np.pi / 3) % (2 * np.pi) - np.pi
            fat_jets.append(
                {
                    "pt": rng.uniform(200, 900),
                    "eta": eta,
                    "phi": phi,
                    "msoftdrop": rng.uniform(0, 200),
                    "jetId": 6,
                    "nConstituents": n,
                    **{f"tau{i}": rng.uniform(0, 1) for i in (1, 2, 3, 4)},
                    **{f"particleNet_{name}": rng.uniform(0, 1) for name in TAGGERS},
                }
            )
            for _ in range(n):
                rows.append((jet, _candidate(rng, eta, phi, rng.uniform(0.01, 1))))
            rows.append((-1, _candidate(rng, eta, phi, 0.0)))  # pile-up, of weight 0
        order = rng.permutation(len(rows))
        events["FatJet"].append(fat_jets)
        events["PFCands"].append([rows[i][1] for i in order])
        links = [{"jetIdx": rows[i][0], "pFCandsIdx": k} for k, i in enumerate(order)]
        events["FatJetPFCands"].append([link for link in links if link["jetIdx"] >= 0])
    events["run"] = [1] * n_events
    events["luminosityBlock"] = [1 + i // 10 for i in range(n_events)]
    events["event"] = list(range(1, n_events + 1))
    events["genWeight"] = [float(w) for w in rng.uniform(0.5, 2, n_events)]
    return events


def _candidate(rng: np.random.Generator, eta: float, phi: float, weight: float) -> dict:
    charge = int(rng.choice([-1, 0, 1]))
    track = {"d0": rng.normal(0, 0.1), "d0Err": 0.01, "dz": rng.normal(0, 0.1), "dzErr": 0.02}
    return {
        "pt": rng.exponential(15) + 0.1,
        "eta": eta + rng.uniform(-0.2, 0.2),
        "phi": (phi + rng.uniform(-0.2, 0.2) + np.pi) % (2 * np.pi) - np.pi,
        "mass": 0.13957 if charge else 0.0,
        **(track if charge else dict.fromkeys(track, -1.0)),
        "charge": charge,
        "pdgId": 211 * charge or 22,
        "puppiWeight": weight,
    }


def write_layout(path: Path, events: dict, kind: str, *, drop: tuple[str, ...] = ()) -> Path:
    """Write events of layout A in another; `drop` names branches as that layout does."""
    events = dict(events)
    others: dict = {}
    if kind == "B":
        candidates = events.pop("PFCands")
        events["FatJetPFCands"] = [
            [{**of_event[link["pFCandsIdx"]], "jetIdx": link["jetIdx"]} for link in links]
            for of_event, links in zip(candidates, events["FatJetPFCands"], strict=True)
        ]
        others["FatJetPFCands"] = [*COLUMNS, "jetIdx"]
    elif kind == "C":
        del events["FatJetPFCands"]
    elif kind == "D":
        weighted = [
            [
                {**c, **{name: c.get(name, 0) * c.get("puppiWeight", 1) for name in ("pt", "mass")}}
                for c in of_event
            ]
            for of_event in events.pop("PFCands")
        ]
        links = [
            [{"jetIdx": link["jetIdx"], "pfCandIdx": link["pFCandsIdx"]} for link in of_event]
            for of_event in events.pop("FatJetPFCands")
        ]
        jets = [
            [{NEW_NAMES.get(name, name): value for name, value in jet.items()} for jet in of_event]
            for of_event in events["FatJet"]
        ]
        events |= {"FatJet": jets, "PFCand": weighted, "FatJetPFCand": links}
        others["PFCand"] = ["pt", "eta", "phi", "mass", "pdgId"]
        others["FatJetPFCand"] = ["jetIdx", "pfCandIdx"]
        others["FatJet"] = [
            "pt", "eta", "phi", "msoftdrop", "nConstituents", "tau1", "tau2", "tau3", "tau4",
            *NEW_NAMES.values(), "particleNet_QCD",
        ]  # fmt: skip
    return write_events(path, events, drop=drop, others=others)
