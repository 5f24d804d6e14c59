"""Small files in PFNano layout A, and independent readings of them, for the tests."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

TAGGERS = ("H4qvsQCD", "HbbvsQCD", "HccvsQCD", "QCD", "TvsQCD", "WvsQCD", "ZvsQCD", "mass")
FILTERS = (
    "Flag_goodVertices", "Flag_globalSuperTightHalo2016Filter", "Flag_HBHENoiseFilter",
    "Flag_HBHENoiseIsoFilter", "Flag_EcalDeadCellTriggerPrimitiveFilter",
    "Flag_BadPFMuonFilter", "Flag_eeBadScFilter", "Flag_CSCTightHaloFilter",
)  # fmt: skip
TRIGGERS = ("HLT_PFJet450", "HLT_AK8PFJet360_TrimMass30")


def random_events(
    n_events: int = 20,
    *,
    seed: int = 1,
    max_jets: int = 3,
    max_candidates: int = 12,
    run: int = 1,
    first_event: int = 1,
) -> dict:
    """Events as plain lists: a dict of branch -> one entry (or list) an event."""
    rng = np.random.default_rng([seed, n_events])
    events: dict = {name: [] for name in (*FILTERS, *TRIGGERS)}
    collections: dict = {"FatJet": [], "PFCands": [], "FatJetPFCands": []}
    for _ in range(n_events):
        for name in FILTERS:
            events[name].append(bool(rng.random() < 0.98))
        for name in TRIGGERS:
            events[name].append(bool(rng.random() < 0.7))
        n_jets = int(rng.integers(0, max_jets + 1))
        jets, candidates, links = [], [], []
        for jet in range(n_jets):
            n = int(rng.integers(0, max_candidates + 1))
            eta, phi = rng.uniform(-2.8, 2.8), rng.uniform(-np.pi, np.pi)
            jets.append(
                {
                    "pt": rng.uniform(200, 900),
                    "eta": eta,
                    "phi": phi,
                    "mass": rng.uniform(10, 200),
                    "msoftdrop": rng.uniform(-1, 200),
                    "jetId": int(rng.choice([2, 6, 6, 6])),
                    "nConstituents": n,
                    **{f"tau{i}": rng.uniform(0, 1) for i in (1, 2, 3, 4)},
                    **{f"particleNet_{name}": rng.uniform(0, 1) for name in TAGGERS},
                }
            )
            for _ in range(n):
                links.append({"jetIdx": jet, "pFCandsIdx": len(candidates), "pt": 0.0})
                charged = rng.random() < 0.6
                candidates.append(
                    {
                        "pt": rng.exponential(15) + 0.1,
                        "eta": eta + rng.normal(0, 0.2),
                        "phi": phi + rng.normal(0, 0.2),
                        "mass": 0.13957 if charged else 0.0,
                        **{
                            name: rng.normal(0, 0.1) if charged else -1.0
                            for name in ("d0", "d0Err", "dz", "dzErr")
                        },
                        "charge": int(rng.choice([-1, 1])) if charged else 0,
                        "pdgId": 211 if charged else 22,
                        "puppiWeight": rng.uniform(0, 1),
                    }
                )
        # Links need not lie jet after jet, nor candidates in the order of the links.
        links = [links[i] for i in rng.permutation(len(links))]
        collections["FatJet"].append(jets)
        collections["PFCands"].append(candidates)
        collections["FatJetPFCands"].append(links)
    events["run"] = [run] * n_events
    events["luminosityBlock"] = [1 + i // 10 for i in range(n_events)]
    events["event"] = [first_event + i for i in range(n_events)]
    events["genWeight"] = [float(w) for w in rng.uniform(0.5, 2, n_events)]
    return {**events, **collections}


_INTEGERS = {"jetId", "nConstituents", "jetIdx", "pFCandsIdx", "pfCandIdx", "charge", "pdgId"}
_INTEGERS |= {"genPartIdxMother", "status", "statusFlags"}
_FIELDS = {
    "FatJet": [
        "pt", "eta", "phi", "mass", "msoftdrop", "jetId", "nConstituents",
        "tau1", "tau2", "tau3", "tau4", *(f"particleNet_{name}" for name in TAGGERS),
    ],
    "PFCands": [
        "pt", "eta", "phi", "mass", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight",
    ],
    "FatJetPFCands": ["jetIdx", "pFCandsIdx", "pt"],
    "GenPart": ["pt", "eta", "phi", "mass", "pdgId", "genPartIdxMother", "status", "statusFlags"],
}  # fmt: skip
_SCALARS = {"run": np.uint32, "luminosityBlock": np.uint32, "event": np.uint64}


def write_events(
    path: Path, events: dict, *, drop: tuple[str, ...] = (), others: dict | None = None
) -> Path:
    """Write events as a TTree with NanoAOD counters.

    `drop` leaves branches out; `others` are collections of other names or fields.
    """
    known = {**_FIELDS, **(others or {})}
    types: dict = {}
    data: dict = {}
    for name, values in events.items():
        if name in known:
            fields = [field for field in known[name] if f"{name}_{field}" not in drop]
            counts = np.array([len(items) for items in values], np.int64)
            columns = {
                field: ak.unflatten(
                    np.array(
                        [item.get(field, 0) for items in values for item in items],
                        np.int32 if field in _INTEGERS else np.float32,
                    ),
                    counts,
                )
                for field in fields
            }
            data[name] = ak.zip(columns)
            types[name] = data[name].type.content
        elif name not in drop:
            dtype = _SCALARS.get(name, np.float32 if name == "genWeight" else np.bool_)
            data[name] = np.array(values, dtype)
            types[name] = dtype
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", types, counter_name=lambda name: "n" + name)
        if len(events["run"]):
            tree.extend(data)
    return path
