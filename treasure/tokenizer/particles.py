"""Particles of many jets, packed one after the other: no padding enters any computation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError

__all__ = ["Particles", "jet_sums", "owners", "pack"]

# Columns of a candidate in the jet table (contract of the Aspen Open Jets format).
PX, PY, PZ, E = range(4)
_COLUMNS = 11


@dataclass(frozen=True)
class Particles:
    """The real particles of N jets, packed.

    Attributes
    ----------
    momenta : (P, 4) float32
        px, py, pz, E in GeV, in the order of the jet table.
    counts : (N,) int64
        Particles of each jet; their sum is P.
    axes : (N, 2) float32
        Pseudorapidity and azimuth (rad) of the axis that angles are measured from.
    other : (P, 7) float32, optional
        d0, d0Err, dz, dzErr (cm), charge, pdgId, puppiWeight, as the jet table has them.
    """

    momenta: NDArray[np.float32]
    counts: NDArray[np.int64]
    axes: NDArray[np.float32]
    other: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def part(
        self,
        rows: slice | NDArray[Any],
        jets: slice | NDArray[Any],
    ) -> "Particles":
        """Some jets, and their particles, which the caller knows."""
        other = None if self.other is None else self.other[rows]
        return Particles(self.momenta[rows], self.counts[jets], self.axes[jets], other)

    @classmethod
    def joined(cls, parts: Sequence["Particles"]) -> "Particles":
        """Jets of several one after the other."""
        others = [p.other for p in parts if p.other is not None]
        return cls(
            momenta=np.concatenate([p.momenta for p in parts]),
            counts=np.concatenate([p.counts for p in parts]),
            axes=np.concatenate([p.axes for p in parts]),
            other=np.concatenate(others) if others else None,
        )


def owners(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of the jet that each packed particle belongs to, (P,) int64."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def jet_sums(values: NDArray[np.floating], counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sums over the particles of each jet in float64: (P, …) to (N, …); 0 for an empty jet."""
    ends = np.cumsum(counts)
    total = np.zeros((len(values) + 1, *values.shape[1:]), dtype=np.float64)
    np.cumsum(values, axis=0, dtype=np.float64, out=total[1:])
    return total[ends] - total[ends - counts]


def pack(
    candidates: NDArray[np.floating], kinematics: NDArray[np.floating], *, other: bool = False
) -> Particles:
    """Packed particles of zero-padded jets.

    Parameters
    ----------
    candidates : (N, M, >=4)
        px, py, pz, E in GeV first; padding has E == 0 and may stand anywhere.
    kinematics : (N, >=3)
        pt, eta, phi of the jets first.
    other
        Also take the seven columns after px, py, pz, E.

    Raises
    ------
    DataError
        If shapes do not fit, or a momentum, eta or phi is NaN or infinite; the message has the row.
    """
    candidates, kinematics = _as_numpy(candidates), _as_numpy(kinematics)
    if candidates.ndim != 3 or candidates.shape[2] < 4:
        raise DataError(f"candidates of shape {candidates.shape}; expected (jets, particles, >=4)")
    if kinematics.ndim != 2 or kinematics.shape[1] < 3 or len(kinematics) != len(candidates):
        raise DataError(
            f"kinematics of shape {kinematics.shape} for {len(candidates)} jets;"
            " expected (jets, >=3): pt, eta, phi"
        )
    if other and candidates.shape[2] < _COLUMNS:
        raise DataError(
            f"candidates of {candidates.shape[2]} columns, but these features need {_COLUMNS}: px,"
            " py, pz, E, d0, d0Err, dz, dzErr, charge, pdgId, puppiWeight; take a tokenizer of"
            " kinematic features"
        )
    momenta = candidates[:, :, : _COLUMNS if other else 4]
    axes = np.ascontiguousarray(kinematics[:, 1:3], dtype=np.float32)
    finite = np.isfinite(momenta).all(axis=(1, 2)) & np.isfinite(axes).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"jet {row} of {len(finite)} has a {'value' if other else 'momentum'} or axis that is"
            " NaN or infinite"
            f" ({int((~finite).sum())} such jets); mend the jet table that it comes from"
        )
    real = momenta[:, :, E] != 0
    return Particles(
        momenta=momenta[real][:, :4].astype(np.float32, copy=False),
        counts=real.sum(axis=1, dtype=np.int64),
        axes=axes,
        other=momenta[real][:, 4:].astype(np.float32, copy=False) if other else None,
    )


def _as_numpy(values: Any) -> NDArray[Any]:
    """Also of awkward arrays, lists and tensors; ragged ones have to be padded first."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"jets are no rectangular array ({str(error).splitlines()[0]}); expected (jets,"
            " particles, >=4), padded with zeros: ak.fill_none(ak.pad_none(…), 0)"
        ) from None
