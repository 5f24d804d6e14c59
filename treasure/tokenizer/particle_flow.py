"""All that the jet table knows of a particle: kinematics, identity, PUPPI weight, displacement."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.config.tokenizer import FeatureConfig
from treasure.errors import ConfigError, DataError
from treasure.tokenizer.features import Kinematic
from treasure.tokenizer.particles import Particles

__all__ = ["CLASSES", "ParticleFlow"]

CLASSES = (211, 130, 22, 11, 13, 1, 2, 0)
"""Absolute pdgId of the classes of CMS particle flow (arXiv:1706.04965).

Charged hadron, neutral hadron, photon, electron, muon, hadronic and electromagnetic energy in the
forward calorimeter; anything else.
"""

_CHARGED = np.array([True, False, False, True, True, False, False, False])
_LEPTONS = np.array([False, False, False, True, True, False, False, False])
_CHARGES = np.array([-1.0, 0.0, 1.0])
_NO_TRACK = -1.0  # in all four of d0, d0Err, dz, dzErr; in the errors only it means nothing else

_WEIGHTS = {
    "charge": 0.3, "class": 1.0, "puppi_weight": 0.1, "track": 1.0,
    "d0": 0.1, "d0_error": 0.03, "dz": 0.1, "dz_error": 0.03,
}  # fmt: skip
"""Of squared errors against one in log pT. Rare classes are worth a code of their own only where
an error in the class is dear: at 0.1 nearly all electrons and muons become charged hadrons."""

_KINEMATIC, _OTHER = 3, len(CLASSES) - 1
_IMPACT = slice(6, 10)  # of the raw features
_CLASS_NAMES = (
    "charged_hadron", "neutral_hadron", "photon", "electron", "muon", "forward_hadron",
    "forward_em", "other",
)  # fmt: skip


class ParticleFlow(Kinematic, kind="particle_flow"):
    """The features of `Kinematic`, and charge, class, PUPPI weight, d0 and dz with their errors.

    Categories are columns of zeros and a one for the networks, and are decoded to the largest: a
    mean squared error of these is the Brier score, whose least is reached by probabilities. d0 and
    dz keep their sign (asinh); their errors are logarithms. Where a candidate has no track details,
    all four are -1 in the jet table, which is inside the range of d0 and dz: whether there is a
    track is a category of its own, and decides what is decoded.

    The columns of the networks, 20: log pT, delta eta, delta phi, charge -1, 0, 1, the classes,
    PUPPI weight, track, d0, d0 error, dz, dz error. A quantizer of as many dimensions sees them all
    from the first k-means on; one of 8 starts without displacement and leptons, and hardly finds
    them.
    """

    names = (
        "log_pt", "delta_eta", "delta_phi", "charge", "class", "puppi_weight",
        "d0", "d0_error", "dz", "dz_error", "track",
    )  # fmt: skip
    categories: ClassVar[tuple[str, ...]] = ("charge", "class", "track")
    needs_other: ClassVar[bool] = True

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__(config)
        if config.scale is not None:
            raise ConfigError("features.scale: particle_flow is always standardised; leave it out")
        if unknown := sorted(set(config.weights) - set(_WEIGHTS)):
            raise ConfigError(
                f"features.weights: no feature {', '.join(unknown)};"
                f" there are {', '.join(_WEIGHTS)}"
            )
        weights = _WEIGHTS | config.weights
        self._factors = {name: weight**0.5 for name, weight in weights.items()}

    @property
    def width(self) -> int:
        return _KINEMATIC + len(_CHARGES) + len(CLASSES) + 1 + 1 + 4

    def limits(self) -> NDArray[np.float64]:
        low, high = self.config.impact_error_range
        far = self.config.impact_max
        return np.array(
            [
                *super().limits(),
                (-1.0, 1.0), (0.0, len(CLASSES) - 1.0), (0.0, 1.0),
                (-far, far), (low, high), (-far, far), (low, high), (0.0, 1.0),
            ]
        )  # fmt: skip

    def raw(self, particles: Particles) -> NDArray[np.float64]:
        if particles.other is None:
            raise DataError(
                "particles with momenta alone; pack them with other=True for particle_flow features"
            )
        d0, d0_error, dz, dz_error, charge, pdg, puppi = particles.other.astype(np.float64).T
        number = np.full(len(pdg), float(_OTHER))
        for place, code in enumerate(CLASSES[:-1]):
            number[np.abs(pdg) == code] = place
        track = d0_error != _NO_TRACK
        floor = self.config.impact_error_range[0]
        impact = np.stack([d0, d0_error, dz, dz_error], axis=1)
        impact = np.where(track[:, None], impact, [0.0, floor, 0.0, floor])
        identity = np.stack([np.sign(charge), number, puppi], axis=1)
        return np.hstack([super().raw(particles), identity, impact, track[:, None]])

    def fit(self, raw: NDArray[np.floating]) -> None:
        super().fit_to(raw, (0, 1, 2))
        values = self._transformed(raw)
        everywhere, track = np.ones(len(raw), dtype=bool), raw[:, 10] > 0
        for place in range(5, 10):
            column = values[everywhere if place == 5 else track, place]
            self.mean[place] = column.mean() if len(column) else 0.0
            spread = column.std() if len(column) else 0.0
            self.std[place] = spread if spread > 1e-6 else 1.0

    def _transformed(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        values = np.array(raw, dtype=np.float64)
        values[:, [6, 8]] = np.arcsinh(values[:, [6, 8]] / self.config.impact_scale)
        values[:, [7, 9]] = np.log(values[:, [7, 9]])
        return values

    def standardise(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """(P, F) to the columns of the networks, (P, width)."""
        values = (self._transformed(raw) - self.mean) / self.std
        track = raw[:, 10:11] > 0
        factor = self._factors
        impact = np.where(track, values[:, _IMPACT], 0.0)
        impact *= [factor[name] for name in ("d0", "d0_error", "dz", "dz_error")]
        return np.hstack(
            [
                values[:, :_KINEMATIC],
                factor["charge"] * (raw[:, 3:4] == _CHARGES),
                factor["class"] * (raw[:, 4:5] == np.arange(len(CLASSES))),
                factor["puppi_weight"] * values[:, 5:6],
                factor["track"] * track,
                impact,
            ]
        )

    def restore(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Columns (P, width) to raw features (P, F) that go together, within the limits."""
        columns = np.asarray(features, dtype=np.float64)
        kinematic, charge, number, puppi, track, impact = np.split(columns, [3, 6, 14, 15, 16], 1)
        raw = np.zeros((len(columns), len(self.names)))
        raw[:, :_KINEMATIC] = kinematic * self.std[:3] + self.mean[:3]
        found = number.argmax(axis=1)
        charged = _CHARGED[found]
        # a class that has charge has one of either sign, and the others have none; but anything
        # else, of which nothing is known, has what it says
        sign = np.where(charge[:, 2] > charge[:, 0], 1.0, -1.0)
        known = np.where(charged, sign, 0.0)
        raw[:, 3] = np.where(found == _OTHER, _CHARGES[charge.argmax(axis=1)], known)
        raw[:, 4] = found
        raw[:, 5] = self._back(puppi[:, 0], "puppi_weight", 5)
        tracked = (raw[:, 3] != 0) & (track[:, 0] > self._factors["track"] / 2)
        raw[:, 10] = tracked
        floor = self.config.impact_error_range[0]
        for i, name in enumerate(("d0", "d0_error", "dz", "dz_error")):
            value = self._back(impact[:, i], name, 6 + i)
            if name.endswith("error"):
                raw[:, 6 + i] = np.where(tracked, np.exp(np.minimum(value, 50.0)), floor)
            else:
                far = np.sinh(np.clip(value, -50.0, 50.0)) * self.config.impact_scale
                raw[:, 6 + i] = np.where(tracked, far, 0.0)
        low, high = self.limits().T
        return np.clip(raw, low, high)

    def _back(self, column: NDArray[np.float64], name: str, place: int) -> NDArray[np.float64]:
        return np.asarray(column / self._factors[name] * self.std[place] + self.mean[place])

    def agreement(
        self, original: NDArray[np.float64], decoded: NDArray[np.float64]
    ) -> dict[str, float]:
        """Also of the particles of each class, and of charged ones without track, alone.

        Most particles are hadrons and photons, and most that are charged have a track: a share of
        all particles says nothing of the rare ones. A class without particles is left out.
        """
        shares = super().agreement(original, decoded)
        groups = {name: original[:, 4] == place for place, name in enumerate(_CLASS_NAMES)}
        right = dict.fromkeys(groups, decoded[:, 4] == original[:, 4])
        groups["charged_without_track"] = (original[:, 3] != 0) & (original[:, 10] == 0)
        right["charged_without_track"] = decoded[:, 10] == 0
        return shares | {
            name: float(right[name][group].mean()) for name, group in groups.items() if group.any()
        }

    def transform(self, name: str) -> str:
        standard = "subtract mean, divide by std"
        if name in self.names[:_KINEMATIC]:
            return super().transform(name)
        factor = f"times {self._factors[name]:.6g}"
        if name in self.categories:
            return f"a column a category, 1 for its own and 0 for others, {factor}; track: one"
        if name == "puppi_weight":
            return f"clip to range, {standard}, {factor}"
        curve = "logarithm" if name.endswith("error") else f"asinh(x / {self.config.impact_scale})"
        return f"clip to range, {curve}, {standard}, {factor}; 0 without track"

    def other(self, raw: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """d0, d0Err, dz, dzErr (cm; -1 without track), charge, pdgId and puppiWeight, (P,) each."""
        track = raw[:, 10] > 0
        number = raw[:, 4].astype(np.int64)
        charge = raw[:, 3]
        sign = np.where(_LEPTONS[number], -charge, charge)  # an electron has pdgId 11 and charge -1
        pdg = np.array(CLASSES)[number] * np.where(sign < 0, -1, 1)
        values: dict[str, Any] = {
            name: np.where(track, raw[:, 6 + i], _NO_TRACK)
            for i, name in enumerate(("d0", "d0Err", "dz", "dzErr"))
        }
        values |= {"charge": charge, "pdgId": pdg, "puppiWeight": raw[:, 5]}
        return {name: column.astype(np.float32) for name, column in values.items()}
