"""What of a particle is encoded: feature sets, their transforms and the way back."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.config.tokenizer import FeatureConfig
from treasure.errors import ConfigError, DataError
from treasure.plugins import Plugin
from treasure.tokenizer.calibration import CHARGED_PION_MASS, Calibration
from treasure.tokenizer.particles import Particles, owners

__all__ = ["FeatureSet", "Kinematic"]

# Smallest pT (GeV) whose logarithm is taken: a particle along the beam is clipped, not infinite.
_SMALLEST_PT = 1e-6


class FeatureSet(Plugin, family=True):
    """Raw particles to standardised features and back.

    A subclass gives `names`, `limits`, `raw`, `momenta` and `weight`. Constants of the
    standardisation are fitted once on training jets, or given by `shift` and `scale`; they are
    part of the artefact. Where the columns of the networks are not the raw features, it also gives
    `width`, `standardise` and `restore`.
    """

    names: tuple[str, ...]

    def __init__(self, config: FeatureConfig) -> None:
        for name in ("shift", "scale"):
            given = getattr(config, name)
            if given is not None and len(given) != len(self.names):
                raise ConfigError(
                    f"features.{name}: {len(given)} numbers, but {config.kind} has"
                    f" {len(self.names)} features: {', '.join(self.names)}"
                )
        self.config = config
        self.mean = np.zeros(len(self.names))
        self.std = np.ones(len(self.names))

    def limits(self) -> NDArray[np.float64]:
        """Lowest and highest value of each raw feature, (F, 2)."""
        raise NotImplementedError

    def raw(self, particles: Particles) -> NDArray[np.float64]:
        """Features before clipping and standardisation, (P, F)."""
        raise NotImplementedError

    def momenta(
        self,
        raw: NDArray[np.float64],
        particle_axes: NDArray[np.floating],
        calibration: Calibration,
    ) -> NDArray[np.float64]:
        """px, py, pz, E in GeV (P, 4) of decoded raw features.

        Parameters
        ----------
        raw : (P, F)
        particle_axes : (P, 2)
            eta and phi of the axis for each particle.
        calibration
            Scales, and the mass hypothesis of every particle.
        """
        raise NotImplementedError

    def weight(self, raw: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
        """Weights of particles (P,) in the loss, pT to the power of `exponent`; their mean is 1."""
        raise NotImplementedError

    def clipped(self, particles: Particles) -> tuple[NDArray[np.float64], int]:
        """Raw features within their limits, (P, F), and how many particles had to be clipped."""
        raw = self.raw(particles)
        low, high = self.limits().T
        inside = np.clip(raw, low, high)
        return inside, int((inside != raw).any(axis=1).sum())

    def fit(self, raw: NDArray[np.floating]) -> None:
        """Set mean and standard deviation from raw features of training particles, (P, F).

        With `scale` in the configuration they are what it says: standardised features are then
        (raw - shift) * scale.

        Raises
        ------
        DataError
            If there are no particles, or a feature is constant.
        """
        if len(raw) == 0:
            raise DataError("no particles to train on: every training jet is empty")
        if self.config.scale is not None:
            self.mean = np.array(self.config.shift or [0.0] * len(self.names), dtype=np.float64)
            self.std = 1 / np.array(self.config.scale, dtype=np.float64)
            return
        self.fit_to(raw, range(len(self.names)))

    def fit_to(self, raw: NDArray[np.floating], places: Sequence[int]) -> None:
        """Set the constants of some of the features; see `fit`."""
        if len(raw) == 0:
            raise DataError("no particles to train on: every training jet is empty")
        for place in places:
            self.mean[place] = raw[:, place].mean(dtype=np.float64)
            self.std[place] = raw[:, place].std(dtype=np.float64)
            if not self.std[place] > 0:
                raise DataError(
                    f"feature {self.names[place]} has the same value in every training particle"
                )

    def standardise(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """(raw - mean) / std, (P, F)."""
        return (raw - self.mean) / self.std

    def restore(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Inverse of `standardise`, kept within the limits, (P, F)."""
        low, high = self.limits().T
        return np.clip(features * self.std + self.mean, low, high)

    needs_other: ClassVar[bool] = False
    """Whether `raw` takes more of a particle than its momentum."""

    categories: ClassVar[tuple[str, ...]] = ()
    """Names of features that are categories: right or wrong."""

    def agreement(
        self, original: NDArray[np.float64], decoded: NDArray[np.float64]
    ) -> dict[str, float]:
        """Share of particles of which a category is decoded right, by its name.

        Parameters
        ----------
        original, decoded : (P, F)
            Raw features.
        """
        places = {name: self.names.index(name) for name in self.categories}
        return {
            name: _share(original[:, place] == decoded[:, place]) for name, place in places.items()
        }

    def other(self, raw: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """What decoded raw features (P, F) say beside the momenta: name → (P,)."""
        return {}

    @property
    def width(self) -> int:
        """Columns that the networks see."""
        return len(self.names)

    def distortion(self, decoded: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """What a training makes small: a mean over particles and columns, a scalar.

        Parameters
        ----------
        decoded, target : (P, width) float32
            Standardised columns.
        weight : (P,)
        """
        return (weight[:, None] * (decoded - target).square()).mean()

    def jet_terms(
        self, decoded: Tensor, target: Tensor, owner: Tensor, jets: int
    ) -> tuple[Tensor, Tensor]:
        """Mean squared log ratio of decoded and original jet pT, and of the jet mass; scalars.

        The particles have the mass of a charged pion and stand in the frame of the axis. An empty
        jet has no terms, one of a single particle no mass term; pT and masses count as the mass of
        one pion at least, so that the logarithms and their gradients are finite.

        Parameters
        ----------
        decoded, target : (P, width) float32
            Standardised columns, of which the first three are log pT and the angles.
        owner : (P,) int64
            Jet of each particle, ascending.
        jets
        """
        pt, mass = self._jet_logs(decoded, owner, jets)
        true_pt, true_mass = self._jet_logs(target, owner, jets)
        filled = torch.bincount(owner, minlength=jets)
        some, several = filled > 0, filled > 1
        zero = decoded.sum() * 0.0
        by_pt = (pt - true_pt)[some].square().mean() if some.any() else zero
        by_mass = (mass - true_mass)[several].square().mean() if several.any() else zero
        return by_pt, by_mass

    def _jet_logs(self, columns: Tensor, owner: Tensor, jets: int) -> tuple[Tensor, Tensor]:
        low, high = torch.tensor(self.limits()[:3].T, dtype=columns.dtype, device=columns.device)
        constants = (self.std[:3], self.mean[:3])
        std, mean = (torch.tensor(c, dtype=columns.dtype, device=columns.device) for c in constants)
        log_pt, eta, phi = (columns[:, :3] * std + mean).clamp(low, high).T
        pt = log_pt.exp()
        momenta = torch.stack(
            [
                pt * phi.cos(),
                pt * phi.sin(),
                pt * eta.sinh(),
                ((pt * eta.cosh()).square() + CHARGED_PION_MASS**2).sqrt(),
            ],
            dim=1,
        )
        px, py, pz, energy = momenta.new_zeros(jets, 4).index_add(0, owner, momenta).unbind(dim=1)
        pt2 = px.square() + py.square()
        mass2 = energy.square() - pt2 - pz.square()
        smallest = CHARGED_PION_MASS**2
        return pt2.clamp(min=smallest).log() / 2, mass2.clamp(min=smallest).log() / 2

    def transform(self, name: str) -> str:
        """What happens to a raw feature on the way to the networks, in words."""
        return "clip to range, subtract mean, divide by std"

    def describe(self) -> dict[str, Any]:
        """What the artefact says of the features; `restored` reads it."""
        limits = self.limits()
        return {
            "kind": self.config.kind,
            "config": self.config.model_dump(mode="json"),
            "list": [
                {
                    "name": name,
                    "transform": self.transform(name),
                    "range": [float(limits[i, 0]), float(limits[i, 1])],
                    "mean": float(self.mean[i]),
                    "std": float(self.std[i]),
                }
                for i, name in enumerate(self.names)
            ],
        }

    def load(self, description: dict[str, Any]) -> None:
        """Take the constants from what `describe` wrote.

        Raises
        ------
        DataError
            If it describes other features.
        """
        names = tuple(entry["name"] for entry in description["list"])
        if names != self.names:
            raise DataError(f"the artefact has features {names}, this feature set {self.names}")
        self.mean = np.array([entry["mean"] for entry in description["list"]], dtype=np.float64)
        self.std = np.array([entry["std"] for entry in description["list"]], dtype=np.float64)


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else 0.0


class Kinematic(FeatureSet, kind="kinematic"):
    """log(pT / GeV), delta eta and delta phi to the axis: the features of OmniJet-alpha.

    arXiv:2403.05618. The mass is not encoded: on the way back every particle has the same.
    """

    names: tuple[str, ...] = ("log_pt", "delta_eta", "delta_phi")

    def limits(self) -> NDArray[np.float64]:
        angle = self.config.angle_max
        return np.array([self.config.log_pt_range, (-angle, angle), (-angle, angle)])

    def raw(self, particles: Particles) -> NDArray[np.float64]:
        px, py, pz = particles.momenta[:, :3].astype(np.float64).T
        axes = particles.axes.astype(np.float64)[owners(particles.counts)]
        pt = np.maximum(np.hypot(px, py), _SMALLEST_PT)
        eta = np.arcsinh(pz / pt)
        delta_phi = np.arctan2(py, px) - axes[:, 1]
        # The nearest of the equivalent angles: [-pi, pi].
        delta_phi -= 2 * np.pi * np.round(delta_phi / (2 * np.pi))
        return np.stack([np.log(pt), eta - axes[:, 0], delta_phi], axis=1)

    def weight(self, raw: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
        weight = np.exp(exponent * raw[:, 0])
        return weight / weight.mean() if len(weight) else weight

    def momenta(
        self,
        raw: NDArray[np.float64],
        particle_axes: NDArray[np.floating],
        calibration: Calibration,
    ) -> NDArray[np.float64]:
        axes = particle_axes.astype(np.float64)
        pt = np.exp(raw[:, 0]) * calibration.pt_scale
        eta = raw[:, 1] * calibration.angle_scale + axes[:, 0]
        phi = raw[:, 2] * calibration.angle_scale + axes[:, 1]
        pz = pt * np.sinh(eta)
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + calibration.particle_mass**2)
        return np.stack([pt * np.cos(phi), pt * np.sin(phi), pz, energy], axis=1)
