"""The tokenizer: raw jets in, tokens out, and back; saved as a directory that needs nothing else.

::

    tokenizer.json         what it is: features and transforms, model, quantizer, vocabulary,
                           calibration, training provenance, checksums of the files beside it
    tokenizer.safetensors  the parameters
    codebook.npz           the codebook alone, for readers without torch
    encoder.onnx, decoder.onnx, portable.py
                           the networks, and a program that needs numpy and onnxruntime alone
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from treasure.config.tokenizer import TokenizerConfig
from treasure.errors import ConfigError, DataError
from treasure.plugins import lookup
from treasure.store import fingerprint
from treasure.tokenizer import kinds  # noqa: F401  what a configuration may name
from treasure.tokenizer.calibration import Calibration
from treasure.tokenizer.features import FeatureSet
from treasure.tokenizer.model import Model
from treasure.tokenizer.particles import Particles, owners, pack
from treasure.tokenizer.portability import portable_files
from treasure.tokenizer.quantizer import Quantizer
from treasure.tokenizer.remote import located
from treasure.tokenizer.saved import (
    DESCRIPTION,
    FORMAT_VERSION,
    PARAMETERS,
    read_description,
    write_artefact,
)
from treasure.tokenizer.tensors import digest, read_tensors

__all__ = ["FORMAT_VERSION", "Tokenizer"]

_OF_THE_CODES = (
    "kind", "codes", "dimension", "codebooks", "levels", "affine_rate", "options",
)  # fmt: skip

# Particles that go through the networks at once: bounds the memory, changes no token.
_PARTICLES_AT_ONCE = 100_000
# Of the particles, outside the range of the features: more are no tails, but other units or axes.
_STRANGE = 0.1
# No jet is beyond: a particle of 1 MeV pT has an eta of 17 at the energy of the LHC's beams, and
# phi may be a turn off.
_MOST_ETA, _MOST_PHI = 20.0, 10.0


class Tokenizer:
    """Jets to tokens and back.

    Tokens are found in float64 on every device: in float32 the order of sums, which depends on the
    batch and the device, moves about one particle in 10^5 to a neighbouring code.

    Parameters
    ----------
    config
        Decides the classes of features, model and quantizer.
    device
        Where the networks run; the CPU by default. "mps" has no float64, so the CPU stands in.
    """

    def __init__(self, config: TokenizerConfig, device: str | torch.device = "cpu") -> None:
        self.config = config
        chosen = torch.device(device)
        self.device = torch.device("cpu") if chosen.type == "mps" else chosen
        self.feature_set: FeatureSet = lookup(FeatureSet, config.features.kind)(config.features)
        self.quantizer: Quantizer = lookup(Quantizer, config.quantizer.kind)(config.quantizer)
        self.model: Model = lookup(Model, config.model.kind)(
            config.model, self.feature_set.width, self.quantizer.dimension
        )
        if config.jet_constraint.candidates and (
            type(self.quantizer).candidates is Quantizer.candidates
        ):
            raise ConfigError(
                f"tokenizer.jet_constraint.candidates: quantizer {config.quantizer.kind} has no"
                " method `candidates`; set it to 0"
            )
        self.calibration = Calibration()
        self.provenance: dict[str, Any] = {}
        self.measured: dict[str, Any] = {}
        self._double: tuple[Model, Quantizer] | None = None

    def __repr__(self) -> str:
        books = f"{self.codebooks} x " if self.codebooks > 1 else ""
        return (
            f"Tokenizer({books}{self.vocabulary_size} codes of {', '.join(self.features)},"
            f" fingerprint {self.fingerprint[:10]})"
        )

    # What it is ----------------------------------------------------------------------------------

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the encoded features of a particle."""
        return self.feature_set.names

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, 0 … size - 1, in every codebook."""
        return self.quantizer.codes

    @property
    def codebooks(self) -> int:
        """Ids of a particle."""
        return self.quantizer.codebooks

    @property
    def codebook(self) -> NDArray[np.float32]:
        """Latent vectors of the ids, (K, D), or (Q, K, D) for several codebooks."""
        return self.quantizer.codebook()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what encode and decode return (64 hexadecimal digits)."""
        return fingerprint(self._meaning())

    @property
    def vocabulary(self) -> dict[str, Any]:
        """Vocabulary as files declare it: ids 0 … size - 1 and no special tokens."""
        return {"size": self.vocabulary_size, "codebooks": self.codebooks, "specials": {}}

    def _meaning(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "features": self.feature_set.describe(),
            "model": self.config.model.model_dump(mode="json"),
            "quantizer": {
                key: value
                for key, value in self.config.quantizer.model_dump(mode="json").items()
                if key in _OF_THE_CODES
            },
            "jet_constraint": self.config.jet_constraint.model_dump(mode="json"),
            "vocabulary": self.vocabulary,
            "calibration": self.calibration.model_dump(mode="json"),
            "parameters_sha256": digest(self.state()),
        }

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers of model and quantizer, on the CPU."""
        parts = {"model": self.model, "quantizer": self.quantizer}
        return {
            f"{part}.{name}": tensor.detach().cpu().contiguous()
            for part, module in parts.items()
            for name, tensor in module.state_dict().items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take what `state` returned; RuntimeError where names or shapes differ."""
        for part, module in (("model", self.model), ("quantizer", self.quantizer)):
            own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
            module.load_state_dict(own)
        self._double = None

    # Jets to tokens and back ---------------------------------------------------------------------

    def encode(
        self, candidates: NDArray[np.floating], kinematics: NDArray[np.floating]
    ) -> ak.Array:
        """Tokens of jets.

        Parameters
        ----------
        candidates : (n, m, >=4)
            px, py, pz, E in GeV first; zero-padded: a particle is where E != 0.
        kinematics : (n, >=3)
            pt, eta, phi of the jets first; angles are measured from (eta, phi).

        Returns
        -------
        ak.Array
            n * var * int32 (n * var * Q * int32 with Q > 1 codebooks): a token for each particle,
            in the order of the candidates.

        Raises
        ------
        DataError
            Where a momentum or axis is NaN or infinite; the message has the row of the jet.

        Warns
        -----
        UserWarning
            Where more than a tenth of the particles are outside the range of the features, and
            so were clipped to it. `encode_particles` counts them always.
        """
        particles = self.pack(candidates, kinematics)
        tokens, clipped = self.encode_particles(particles)
        number = len(particles.momenta)
        if clipped > _STRANGE * number:
            warnings.warn(
                f"{clipped} of {number} particles are outside the range of the features, and were"
                " clipped to it: are momenta in GeV, and is kinematics pt, eta, phi of the jets?",
                stacklevel=2,
            )
        return tokens

    def pack(self, candidates: NDArray[np.floating], kinematics: NDArray[np.floating]) -> Particles:
        """Particles of zero-padded jets, with what the features need; see `encode`."""
        return pack(candidates, kinematics, other=self.feature_set.needs_other)

    def encode_particles(
        self, particles: Particles, *, constrained: bool = True
    ) -> tuple[ak.Array, int]:
        """Tokens of packed jets, and how many particles were clipped to the features' range.

        With `constrained` false, every particle has its nearest code, whatever `jet_constraint`
        says.
        """
        raw, clipped = self.feature_set.clipped(particles)
        features = self.feature_set.standardise(raw)
        model, quantizer = self._in_double()
        ids = np.zeros((len(features), *self._row_shape()), dtype=np.int32)
        for jets, rows in _slices(particles.counts):
            owner = torch.from_numpy(owners(particles.counts[jets])).to(self.device)
            with torch.no_grad():
                latent = model.encode(
                    torch.from_numpy(features[rows]).to(self.device), owner, jets.stop - jets.start
                )
                if constrained and self.config.jet_constraint.candidates and len(latent):
                    part = particles.part(rows, jets)
                    ids[rows] = self._constrained(latent, part, raw[rows], features[rows])
                else:
                    ids[rows] = quantizer.ids(latent).cpu().numpy()
        return ak.unflatten(ids, particles.counts), clipped

    def _constrained(
        self,
        latent: Tensor,
        particles: Particles,
        raw: NDArray[np.float64],
        features: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Ids of packed particles which keep the four-momentum of their jet."""
        # not before: its compiler takes half a second to import
        from treasure.tokenizer.constraint import choose, mean_of_jet

        constraint = self.config.jet_constraint
        candidates = self._in_double()[1].candidates(latent, constraint.candidates).cpu()
        number = candidates.shape[1]
        flat = candidates.reshape(-1, *self._row_shape()).numpy()
        columns = self._decoded_columns(flat)
        decoded = self.feature_set.restore(columns)
        axes = particles.axes[owners(particles.counts)]
        momenta = self.feature_set.momenta(decoded, axes.repeat(number, axis=0), self.calibration)
        weight = self.feature_set.weight(raw, constraint.pt_weight)
        # relative to the mean of the jet, whatever other jets come with it
        weight /= mean_of_jet(weight, particles.counts)
        shape = (len(raw), number)
        distance = np.square(columns.reshape(*shape, -1) - features[:, None]).sum(axis=2)
        chosen = choose(
            weight[:, None] * distance,
            momenta.reshape(*shape, 4),
            particles.momenta.astype(np.float64),
            particles.counts,
            sweeps=constraint.sweeps,
            strength=constraint.strength,
        )
        found: NDArray[np.int64] = candidates.numpy()[np.arange(len(raw)), chosen]
        return found

    def _decoded_columns(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a decoder that takes each particle by itself makes of ids, before the limits."""
        unique, inverse = np.unique(ids, axis=0, return_inverse=True)
        quantizer = self.quantizer.to(self.device)
        rows = torch.from_numpy(unique).to(self.device)
        model = self._in_double()[0]
        owner = torch.arange(len(rows), device=self.device)
        with torch.no_grad():
            columns = model.decode(quantizer.vectors(rows).double(), owner, len(rows))
        decoded: NDArray[np.float64] = columns.cpu().numpy()[inverse.reshape(len(ids))]
        return decoded

    def decode(self, tokens: ak.Array, kinematics: NDArray[np.floating]) -> ak.Array:
        """Particles of tokens.

        Parameters
        ----------
        tokens : n * var * integer
            As `encode` returned them (n * var * Q for several codebooks).
        kinematics : (n, >=3)
            pt, eta, phi of the jets first; only the axis (eta, phi) is used.

        Returns
        -------
        ak.Array
            n * var * {px, py, pz, E: float32}, GeV, and what else the features hold, such as
            charge, pdgId, puppiWeight, d0, d0Err, dz, dzErr (cm).

        Raises
        ------
        DataError
            For a token outside 0 … K - 1, an axis that is NaN, infinite or no direction (eta
            beyond 20 or phi beyond 10), or shapes that do not fit.
        """
        if len(tokens) != len(kinematics):
            raise DataError(f"{len(tokens)} jets of tokens, but {len(kinematics)} of kinematics")
        kinematics = np.asarray(kinematics)
        if kinematics.ndim != 2 or kinematics.shape[1] < 3:
            raise DataError(
                f"kinematics of shape {kinematics.shape}; expected pt, eta, phi of each jet: (n, 3)"
            )
        axes = kinematics[:, 1:3]
        _check_axes(axes)
        tokens = ak.Array(tokens)
        if tokens.ndim < 2 and len(tokens):
            raise DataError(f"tokens of type {tokens.type}; expected a list of ids for each jet")
        counts = ak.to_numpy(ak.num(tokens, axis=1)).astype(np.int64)
        ids = self._checked_ids(tokens)
        raw = self.decode_features(ids, counts)
        momenta = self._momenta(raw, counts, axes)
        fields = {name: momenta[:, i] for i, name in enumerate(("px", "py", "pz", "E"))}
        fields |= self.feature_set.other(raw)
        return ak.unflatten(ak.zip(fields), counts)

    def decode_packed(
        self, ids: NDArray[np.integer], counts: NDArray[np.int64], axes: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """px, py, pz, E (P, 4) in GeV of packed tokens (P,) or (P, Q); axes (N, 2): eta, phi."""
        return self._momenta(self.decode_features(ids, counts), counts, axes)

    def _momenta(
        self, raw: NDArray[np.float64], counts: NDArray[np.int64], axes: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        momenta = self.feature_set.momenta(raw, axes[owners(counts)], self.calibration)
        return momenta.astype(np.float32)

    def decode_features(
        self, ids: NDArray[np.integer], counts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Raw features (P, F) of packed tokens, before the calibration."""
        features = np.zeros((len(ids), self.feature_set.width))
        model, quantizer = self.model.to(self.device).eval(), self.quantizer.to(self.device)
        for jets, rows in _slices(counts):
            owner = torch.from_numpy(owners(counts[jets])).to(self.device)
            with torch.no_grad():
                part = torch.from_numpy(ids[rows].astype(np.int64)).to(self.device)
                latent = quantizer.vectors(part)
                features[rows] = model.decode(latent, owner, jets.stop - jets.start).cpu().numpy()
        return self.feature_set.restore(features)

    def _row_shape(self) -> tuple[int, ...]:
        return () if self.codebooks == 1 else (self.codebooks,)

    def _checked_ids(self, tokens: ak.Array) -> NDArray[np.int64]:
        flat = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=1)))
        if flat.size == 0:
            return np.zeros((0, *self._row_shape()), dtype=np.int64)
        if flat.dtype.kind not in "iu" or flat.shape[1:] != self._row_shape():
            found = f" ({flat.shape[1]} a particle)" if flat.ndim > 1 else ""
            raise DataError(
                f"tokens are {flat.dtype}{found}; expected integers, {self.codebooks} a particle"
            )
        low, high = int(flat.min()), int(flat.max())
        if low < 0 or high >= self.vocabulary_size:
            raise DataError(
                f"tokens range from {low} to {high}, but this tokenizer knows 0 to"
                f" {self.vocabulary_size - 1}; they belong to another tokenizer or dialect"
            )
        return flat.astype(np.int64)

    def _in_double(self) -> tuple[Model, Quantizer]:
        """Float64 copies for encoding, made once."""
        if self._double is None:
            fresh = Tokenizer(self.config)
            fresh.load_state(self.state())
            model = fresh.model.double().to(self.device).eval()
            quantizer = fresh.quantizer.double().to(self.device).eval()
            self._double = (model, quantizer)
        return self._double

    def prepare(self) -> None:
        """Make what encoding needs, before several threads encode at once."""
        self._in_double()

    def forget_copies(self) -> None:
        """Call after changing parameters in place, as training does."""
        self._double = None

    # Saved ---------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write the artefact and its model card; ``tokenizer.json``, with checksums, last."""
        content = {
            **self._meaning(),
            "fingerprint": self.fingerprint,
            "config": self.config.model_dump(mode="json"),
            "provenance": self.provenance,
            "measured": self.measured,
        }
        write_artefact(Path(directory), content, self.state(), self.codebook, portable_files(self))

    @classmethod
    def load(cls, source: str | Path, device: str | torch.device = "cpu") -> "Tokenizer":
        """Read an artefact and check it.

        Parameters
        ----------
        source
            A folder, ``hf://owner/name[@revision][/folder]`` on the Hugging Face Hub
            (``hf://datasets/owner/name/folder`` in a dataset), or ``https://host/folder``.
        device

        Raises
        ------
        DataError
            Naming the file that is missing, damaged, or does not belong to the others.
        """
        directory = located(source)
        path = directory / DESCRIPTION
        content = read_description(directory)
        try:
            tokenizer = cls(TokenizerConfig.model_validate(content["config"]), device)
            tokenizer.feature_set.load(content["features"])
            tokenizer.calibration = Calibration.model_validate(content["calibration"])
            tokenizer.load_state(read_tensors(directory / PARAMETERS))
            tokenizer.provenance = dict(content["provenance"])
            tokenizer.measured = dict(content.get("measured", {}))
        except (ValidationError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{path}: does not fit this version of treasure: {error}") from error
        if tokenizer.fingerprint != content["fingerprint"]:
            raise DataError(f"{path}: its fingerprint is not that of {PARAMETERS} beside it")
        return tokenizer


def _check_axes(axes: NDArray[np.floating]) -> None:
    """Directions of jets: finite, and no other columns than eta and phi by mistake."""
    for row in np.flatnonzero(~np.isfinite(axes).all(axis=1))[:1]:
        raise DataError(f"jet {row} of {len(axes)} has an axis that is NaN or infinite")
    for row in np.flatnonzero((np.abs(axes) > (_MOST_ETA, _MOST_PHI)).any(axis=1))[:1]:
        raise DataError(
            f"jet {row} of {len(axes)} has eta {axes[row, 0]:g} and phi {axes[row, 1]:g}; is"
            " kinematics pt, eta, phi of the jets?"
        )


def _slices(counts: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Slices of jets and of their packed particles, about `_PARTICLES_AT_ONCE` each."""
    ends = np.cumsum(counts)
    first, row = 0, 0
    while first < len(counts):
        limit = row + _PARTICLES_AT_ONCE
        last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
        yield slice(first, last), slice(row, int(ends[last - 1]))
        first, row = last, int(ends[last - 1])
