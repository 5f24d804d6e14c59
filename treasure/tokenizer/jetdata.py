"""Jets of one split, read from jet tables in chunks and packed in memory for training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.table import JetTable
from treasure.tokenizer.particles import Particles, pack

__all__ = ["Jets", "check_columns", "read_jets"]

_ROWS = 2_000


@dataclass(frozen=True)
class Jets:
    """Packed jets with their kinematics (N, 4: pt, eta, phi, msoftdrop) and dataset number (N,)."""

    particles: Particles
    kinematics: NDArray[np.float32]
    dataset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Row of the first particle of each jet, (N,)."""
        return np.cumsum(self.particles.counts) - self.particles.counts


def check_columns(table: JetTable) -> None:
    """Refuse a jet table whose input did not have what `Particles.other` holds.

    Sentinels stand there instead (official NanoAOD: no d0, dz and PUPPI weight), and would be taken
    for values.

    Raises
    ------
    DataError
        Naming the columns.
    """
    said = json.loads(table.attributes.get("absent_columns", "{}"))
    lacking = sorted(
        f"{name} ({stands})"
        for name, stands in said.items()
        if name.startswith("PFCands_") and not stands.startswith("computed")
    )
    if lacking:
        raise DataError(
            f"{table.path}: its input had no {', '.join(lacking)}, which these features need; take"
            " a tokenizer of kinematic features, or jets of another layout"
        )


def read_jets(
    jet_tables: Mapping[str, Sequence[Path]], split: str, max_jets: int, *, other: bool = False
) -> Jets:
    """Read jets of a split, chunk by chunk, until there are enough.

    Every table gives its first jets, at most its share: `max_jets` in proportion to the rows of the
    tables. What is kept costs 16 bytes a particle, or 44 with `other`.

    Parameters
    ----------
    jet_tables
        Paths of the jet tables of each dataset.
    split
        "train", "val" or "test".
    max_jets
        Jets kept, about at most.
    other
        Keep also what is not momentum, see `Particles.other`.

    Raises
    ------
    DataError
        If there is no such jet, a jet has NaN or infinite values, some tables have momenta
        weighted by PUPPI and others not, or with `other`, a table does not have those columns.
    """
    paths = [(name, Path(path)) for name in sorted(jet_tables) for path in jet_tables[name]]
    rows = []
    conventions: dict[str, Path] = {}
    for _, path in paths:
        with JetTable(path) as table:
            rows.append(len(table))
            if other:
                check_columns(table)
            # Public files of Aspen Open Jets do not say, and are not weighted.
            conventions.setdefault(table.attributes.get("puppi", "stored"), path)
    if len(conventions) > 1:
        found = ", ".join(f"{path} ({puppi})" for puppi, path in sorted(conventions.items()))
        raise DataError(
            "jet tables with momenta that are weighted by PUPPI and with such that are not:"
            f" {found}; set selection.apply_puppi to true, or choose training_datasets"
        )
    names = sorted(jet_tables)
    packed: list[Particles] = []
    kinematics: list[NDArray[np.float32]] = []
    dataset: list[NDArray[np.int64]] = []
    for (name, path), length in zip(paths, rows, strict=True):
        wanted = int(np.ceil(max_jets * length / max(sum(rows), 1)))
        with JetTable(path) as table:
            for chunk in table.chunks(_ROWS, split=split):
                if wanted <= 0:
                    break
                candidates, axes = chunk.candidates[:wanted], chunk.kinematics[:wanted]
                try:
                    packed.append(pack(candidates, axes, other=other))
                except DataError as error:
                    raise DataError(f"{path}, split {split}: {error}") from None
                kinematics.append(np.asarray(axes, dtype=np.float32))
                dataset.append(np.full(len(axes), names.index(name), dtype=np.int64))
                wanted -= len(axes)
    if not sum(len(p) for p in packed):
        tables = ", ".join(str(path) for _, path in paths) or "none given"
        raise DataError(f"no jet of split {split!r} in the jet tables ({tables})")
    particles = Particles.joined(packed)
    return Jets(particles, np.concatenate(kinematics), np.concatenate(dataset))
