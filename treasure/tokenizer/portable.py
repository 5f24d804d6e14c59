"""Jets to tokens and back with numpy and onnxruntime alone.

This file is complete: it imports nothing of the package that wrote it, and lies beside each
artefact whose networks are there as ONNX graphs. In the folder of the artefact::

    from portable import Tokenizer

    tokenizer = Tokenizer(".")
    ids, counts = tokenizer.encode(candidates, kinematics)
    momenta = tokenizer.decode(ids, counts, kinematics[:, 1:3])

Tokens are found in float64 and are those of the package; momenta agree within the float32 of its
networks. Files are checked with the checksums of ``tokenizer.json`` before they are used.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FEATURES", "QUANTIZERS", "DataError", "Tokenizer"]

FEATURES = ("kinematic",)
QUANTIZERS = ("vq", "kmeans", "rvq", "vq_gradient", "fsq", "binning")

_FORMAT_VERSION = 2
_SMALLEST_PT = 1e-6  # GeV: the logarithm of a particle along the beam is clipped, not infinite
_SMALLEST_MASS_OVER_PT = 1e-3  # of narrower jets the mass is not held
_MOST_ETA, _MOST_PHI = 20.0, 10.0  # no jet is beyond, though phi may be a turn off
_PARTICLES_AT_ONCE = 100_000  # bounds the memory
_ROWS_AT_ONCE = 2000  # particles whose numbers stay in the cache of a processor
_ROWS_OF_JETS = 800  # likewise, where each sees the others
_NUMBERS_AT_ONCE = 1 << 15  # likewise
# Quickest for 8,192 codes in four dimensions.
_CODES_OF_A_CELL, _CELLS_OF_A_REGION = 8, 32
_CODES_OF_A_LIST, _MOST_CELLS, _NUMBERS_FOR_A_CELL = 256, 2048, 1000

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class DataError(ValueError):
    """A file or an array is wrong: missing, damaged, of another kind or shape."""


class Tokenizer:
    """Jets to tokens and back.

    Parameters
    ----------
    directory
        Folder of the artefact.
    threads
        Of onnxruntime; 0: as many as it likes. Numpy has settings of its own.

    Raises
    ------
    DataError
        Naming the file that is missing or damaged, or what of the tokenizer this file cannot do.
    """

    def __init__(self, directory: str | Path, threads: int = 1) -> None:
        self._directory, self._threads = Path(directory), threads
        self.description = _description(self._directory)
        try:
            self._prepare()
        except DataError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{self._directory}: not as expected of a tokenizer: {error}"
            ) from error

    def _prepare(self) -> None:
        self.vocabulary_size = self.description["vocabulary"]["size"]
        self.codebooks = self.description["vocabulary"]["codebooks"]
        for part, kinds in (("features", FEATURES), ("quantizer", QUANTIZERS)):
            if self.description[part]["kind"] not in kinds:
                raise DataError(
                    f"{self._directory}: {part} of kind {self.description[part]['kind']}; without"
                    f" torch there are {', '.join(kinds)}"
                )
        listed = self.description["features"]["list"]
        self._low, self._high = np.array([entry["range"] for entry in listed]).T
        self._mean = np.array([entry["mean"] for entry in listed])
        self._std = np.array([entry["std"] for entry in listed])
        codes = self.description["quantizer"]
        others = {"vq_gradient": _Affine, "fsq": _Levels, "binning": _Bins}
        self._codes = others.get(codes["kind"], _Vectors)(self._file, codes)
        self._encoder, self._decoder = self._network("encoder"), self._network("decoder")
        self._decoded: tuple[Array, Array] | None = None

    def _file(self, name: str) -> bytes:
        """Bytes of a file of the artefact, checked."""
        expected = self.description["files"].get(name)
        if expected is None:
            raise DataError(f"{self._directory / name}: not among the files of tokenizer.json")
        try:
            data = (self._directory / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self._directory / name}: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise DataError(f"{self._directory / name}: damaged, or not the file of tokenizer.json")
        return data

    def _network(self, part: str) -> Any:
        import onnxruntime  # here, so that what stands above can be read without

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            self._file(f"{part}.onnx"), options, providers=["CPUExecutionProvider"]
        )

    # Jets to tokens ------------------------------------------------------------------------------

    def encode(
        self, candidates: ArrayLike, kinematics: ArrayLike
    ) -> tuple[NDArray[np.int32], Ints]:
        """Tokens of jets.

        Parameters
        ----------
        candidates : (N, M, >=4)
            px, py, pz, E in GeV first; zero-padded: a particle is where E != 0.
        kinematics : (N, >=3)
            pt, eta, phi of the jets first; angles are measured from (eta, phi).

        Returns
        -------
        ids : (P,) int32, or (P, Q) with Q > 1 codebooks
            Of the particles of all jets, one jet after the other, in the order of the candidates.
        counts : (N,) int64
            Particles of each jet.

        Raises
        ------
        DataError
            If shapes do not fit, or a momentum or axis is NaN or infinite.
        """
        momenta, counts, axes = _packed(candidates, kinematics)
        ids = np.zeros((len(momenta), *self._row_shape()), dtype=np.int32)
        for jets, rows in _slices(counts):
            part = momenta[rows].astype(np.float64), counts[jets], axes[jets].astype(np.float64)
            ids[rows] = self._encoded(*part)
        return ids, counts

    def _encoded(self, momenta: Array, counts: Ints, axes: Array) -> Ints:
        owner = _owners(counts)
        raw = np.clip(_kinematic(momenta, axes[owner]), self._low, self._high)
        features = (raw - self._mean) / self._std
        latent = _run(self._encoder, features, counts)
        constraint = self.description["jet_constraint"]
        if not constraint["candidates"]:
            return self._codes.ids(latent)
        candidates = self._codes.candidates(latent, constraint["candidates"])
        chosen = self._chosen(candidates, momenta, counts, axes, raw, features)
        found: Ints = candidates[np.arange(len(candidates)), chosen]
        return found

    def _chosen(
        self,
        candidates: Ints,
        momenta: Array,
        counts: Ints,
        axes: Array,
        raw: Array,
        features: Array,
    ) -> Ints:
        """Which candidates keep the four-momenta of their jets, (P,)."""
        constraint = self.description["jet_constraint"]
        owner = _owners(counts)
        weight = np.exp(constraint["pt_weight"] * raw[:, 0])
        weight /= (np.bincount(owner, weight, len(counts)) / np.maximum(counts, 1))[owner]
        order = _by_rank(momenta, counts, owner)
        response = _response(momenta, counts)
        # (C, P): what is done to all particles is done to long rows
        distortion = np.zeros((candidates.shape[1], len(order)))
        change = np.zeros((4, *distortion.shape))
        for start in range(0, len(order), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            rows = order[part]
            columns, frame = self._of_codes(candidates[rows])
            for axis, feature in enumerate(features[rows].T):
                distortion[:, part] += np.square(columns[axis] - feature)
            distortion[:, part] *= weight[rows]
            turned = self._turned(frame, axes[owner[rows]])
            _changes(turned, momenta[rows], response[:, owner[rows]], change[:, :, part])
        chosen = np.empty(len(order), dtype=np.int64)
        chosen[order] = _choose(
            distortion, change, counts, constraint["sweeps"], constraint["strength"]
        )
        return chosen

    # Tokens to jets ------------------------------------------------------------------------------

    def decode(self, ids: ArrayLike, counts: ArrayLike, axes: ArrayLike) -> NDArray[np.float32]:
        """Particles of tokens.

        Parameters
        ----------
        ids : (P,) or (P, Q)
            As `encode` returned them.
        counts : (N,)
        axes : (N, 2)
            eta and phi of the jets.

        Returns
        -------
        (P, 4) float32
            px, py, pz, E in GeV.

        Raises
        ------
        DataError
            For a token outside 0 … K - 1, an axis that is no direction, or shapes that do not
            fit.
        """
        ids, counts, axes = self._checked(np.asarray(ids), np.asarray(counts), np.asarray(axes))
        momenta = np.zeros((len(ids), 4), dtype=np.float32)
        for jets, rows in _slices(counts):
            owner = _owners(counts[jets])
            if _sees_jet(self._decoder):
                columns = _run(self._decoder, self._codes.vectors(ids[rows]), counts[jets])
                frame = self._in_frame(self._restored(columns).T)
            else:
                frame = self._of_codes(ids[rows])[1]
            turned = self._turned(frame, axes[jets][owner])
            for axis, column in enumerate(turned):
                momenta[rows, axis] = column
        return momenta

    def _checked(
        self, ids: NDArray[Any], counts: NDArray[Any], axes: NDArray[Any]
    ) -> tuple[Ints, Ints, Array]:
        if ids.dtype.kind not in "iu" or ids.shape[1:] != self._row_shape():
            raise DataError(
                f"ids are {ids.dtype} of shape {ids.shape}; expected integers (P,"
                f"{' Q' if self._row_shape() else ''})"
            )
        if counts.dtype.kind not in "iu" or counts.ndim != 1 or axes.shape != (len(counts), 2):
            raise DataError(
                f"counts of shape {counts.shape} and axes of {axes.shape}; expected (N,) integers"
                " and (N, 2): eta, phi"
            )
        if (len(counts) and counts.min() < 0) or counts.sum() != len(ids):
            raise DataError(f"{len(ids)} particles of ids, but counts say {counts.sum()}")
        if not np.isfinite(axes).all():
            raise DataError("an axis is NaN or infinite")
        if (abs(axes) > (_MOST_ETA, _MOST_PHI)).any():
            raise DataError(
                f"axes reach {abs(axes).max(axis=0)}, no eta and phi of jets; expected the"
                " columns eta, phi"
            )
        if len(ids) and (ids.min() < 0 or ids.max() >= self.vocabulary_size):
            raise DataError(
                f"tokens range from {ids.min()} to {ids.max()}, but this tokenizer knows 0 to"
                f" {self.vocabulary_size - 1}; they belong to another tokenizer or dialect"
            )
        return ids.astype(np.int64), counts.astype(np.int64), axes.astype(np.float64)

    def _row_shape(self) -> tuple[int, ...]:
        return () if self.codebooks == 1 else (self.codebooks,)

    # What codes decode to, where the decoder takes each particle by itself -----------------------

    def _of_codes(self, ids: Ints) -> tuple[Array, Array]:
        """Decoded columns, and momenta in the frame of the axis, of ids of any shape.

        Two arrays with a first axis of columns, then that of the ids, reversed.
        """
        if self.codebooks > 1:
            columns = _run(self._decoder, self._codes.vectors(ids.reshape(-1, self.codebooks)))
            frame = self._in_frame(self._restored(columns).T)
            both = (values.reshape(len(values), *ids.shape[:-1]) for values in (columns.T, frame))
            columns, frame = (np.swapaxes(values, 1, -1) for values in both)
            return columns, frame
        if self._decoded is None:
            vectors = self._codes.vectors(np.arange(self.vocabulary_size))
            columns = _run(self._decoder, vectors)
            self._decoded = (
                np.ascontiguousarray(columns.T),
                self._in_frame(self._restored(columns).T),
            )
        columns, frame = self._decoded
        flat = np.ascontiguousarray(ids.T)
        return columns.take(flat, axis=1), frame.take(flat, axis=1)

    def _restored(self, columns: Array) -> Array:
        return np.clip(columns * self._std + self._mean, self._low, self._high)

    def _in_frame(self, raw: Array) -> Array:
        """px, py, pz and |p| of massless particles whose jet has eta = phi = 0, (4, P)."""
        calibration = self.description["calibration"]
        pt = np.exp(raw[0]) * calibration["pt_scale"]
        eta, phi = raw[1:3] * calibration["angle_scale"]
        return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])

    def _turned(self, frame: Array, axes: Array) -> tuple[Array, ...]:
        """px, py, pz, E of what `_in_frame` returned, turned and boosted to the axes (P, 2)."""
        mass = self.description["calibration"]["particle_mass"]
        eta, phi = axes.T
        sine, cosine, sinh, cosh = np.sin(phi), np.cos(phi), np.sinh(eta), np.cosh(eta)
        px, py, pz, p = frame
        energy = pz * sinh
        energy += p * cosh
        np.square(energy, out=energy)
        energy += mass**2
        return (
            px * cosine - py * sine,
            px * sine + py * cosine,
            pz * cosh + p * sinh,
            np.sqrt(energy, out=energy),
        )


# The artefact -----------------------------------------------------------------------------------


def _description(directory: Path) -> dict[str, Any]:
    path = directory / "tokenizer.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format_version") != _FORMAT_VERSION:
        raise DataError(
            f"{path}: not the description of a tokenizer of format version {_FORMAT_VERSION}"
        )
    stated = content.pop("checksum", None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if stated != hashlib.sha256(text.encode()).hexdigest():
        raise DataError(f"{path}: its checksum does not fit its content; it was changed")
    return content


def _tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file by their names."""
    start = 8 + int.from_bytes(data[:8], "little")
    types: dict[str, Any] = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    return {
        name: np.frombuffer(
            data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
            dtype=types[entry["dtype"]],
        ).reshape(entry["shape"])
        for name, entry in json.loads(data[8:start]).items()
        if name != "__metadata__"
    }


def _sees_jet(network: Any) -> bool:
    return len(network.get_inputs()[0].shape) == 3


def _run(network: Any, particles: NDArray[Any], counts: Ints | None = None) -> Array:
    """Rows (P, …) of a network, in float64; counts (N,) for one that sees the jet."""
    double = network.get_inputs()[0].type == "tensor(double)"
    particles = np.ascontiguousarray(particles, dtype=np.float64 if double else np.float32)
    if counts is None or not _sees_jet(network):
        steps = range(0, max(len(particles), 1), _ROWS_AT_ONCE)
        parts = [
            network.run(None, {"particles": particles[start : start + _ROWS_AT_ONCE]})[0]
            for start in steps
        ]
        return np.concatenate(parts).astype(np.float64, copy=False)
    # jets of one size together, so that none has to be padded
    sizes = np.repeat(counts, counts)
    order = np.argsort(sizes, kind="stable")
    particles = particles[order]
    result = np.zeros((len(particles), network.get_outputs()[0].shape[1]))
    ends = np.cumsum(np.bincount(sizes))
    for size in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
        step = max(_ROWS_OF_JETS // size, 1) * size
        for start in range(int(ends[size - 1]), int(ends[size]), step):
            part = slice(start, min(start + step, int(ends[size])))
            jets = particles[part].reshape(-1, size, particles.shape[1])
            result[order[part]] = network.run(None, {"particles": jets})[0]
    return result


# Particles --------------------------------------------------------------------------------------


def _packed(
    candidates: ArrayLike, kinematics: ArrayLike
) -> tuple[NDArray[np.float32], Ints, NDArray[np.float32]]:
    candidates, kinematics = np.asarray(candidates), np.asarray(kinematics)
    if candidates.ndim != 3 or candidates.shape[2] < 4:
        raise DataError(f"candidates of shape {candidates.shape}; expected (jets, particles, >=4)")
    if kinematics.ndim != 2 or kinematics.shape[1] < 3 or len(kinematics) != len(candidates):
        raise DataError(
            f"kinematics of shape {kinematics.shape} for {len(candidates)} jets;"
            " expected (jets, >=3): pt, eta, phi"
        )
    axes = kinematics[:, 1:3].astype(np.float32)
    momenta = candidates[:, :, :4]
    finite = np.isfinite(momenta).all(axis=(1, 2)) & np.isfinite(axes).all(axis=1)
    if not finite.all():
        raise DataError(
            f"jet {int(np.argmin(finite))} of {len(finite)} has a momentum or axis that is NaN or"
            " infinite"
        )
    real = momenta[:, :, 3] != 0
    return momenta[real].astype(np.float32), real.sum(axis=1, dtype=np.int64), axes


def _owners(counts: Ints) -> Ints:
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def _slices(counts: Ints) -> Iterator[tuple[slice, slice]]:
    """Slices of jets and of their particles, so many that memory is bounded."""
    ends = np.cumsum(counts)
    first, row = 0, 0
    while first < len(counts):
        last = max(int(np.searchsorted(ends, row + _PARTICLES_AT_ONCE, side="right")), first + 1)
        yield slice(first, last), slice(row, int(ends[last - 1]))
        first, row = last, int(ends[last - 1])


def _kinematic(momenta: Array, axes: Array) -> Array:
    """Logarithm of pT, and pseudorapidity and azimuth from the axis, (P, 3)."""
    px, py, pz = momenta[:, :3].T
    pt = np.maximum(np.hypot(px, py), _SMALLEST_PT)
    delta_phi = np.arctan2(py, px) - axes[:, 1]
    delta_phi -= 2 * np.pi * np.round(delta_phi / (2 * np.pi))
    return np.stack([np.log(pt), np.arcsinh(pz / pt) - axes[:, 0], delta_phi], axis=1)


# Nearest codes ----------------------------------------------------------------------------------


class _Nearest:
    """The codes nearest to a point: of equal ones the first.

    Distances are taken in float64, and to ten digits none are equal.

    Codes are shared out to cells. A point at distance r of the centre of its cell, that has as
    many codes as are wanted within u, has no nearer ones farther than u + r from that centre (the
    triangle inequality). The codes near a cell stand in the order of that distance, so that some
    are compared, then more where these do not reach so far, and all where these do not either.
    """

    def __init__(self, vectors: NDArray[np.floating]) -> None:
        self.vectors, self.first = np.unique(
            np.asarray(vectors, dtype=np.float64), axis=0, return_index=True
        )
        self._cells: _Cells | None = None

    def __call__(self, points: Array, wanted: int) -> Ints:
        """Numbers of the codes nearest to points (P, D), nearest first: (P, C)."""
        wanted = min(wanted, len(self.vectors))
        if self._cells is None:
            self._cells = _Cells(self.vectors)
        cells = self._cells
        found = np.zeros((len(points), wanted), dtype=np.int64)
        cell = cells.of(points)
        rows = np.argsort(cell, kind="stable")
        cell = cell[rows]
        seen = _extended(points[rows] - cells.centres[cell])
        for length in (48 + 2 * wanted, _CODES_OF_A_LIST):
            length = min(length, cells.members.shape[1])
            places, last = cells.nearest(seen, cell, length, wanted)
            found[rows] = cells.members[cell[:, None], places]
            if length == len(self.vectors):
                return self._of_all(found)
            reach = (np.sqrt(last) + np.sqrt(seen[:, -1])) * (1 + 1e-7)  # and rounding
            more = reach >= cells.radii[cell, length - 1]
            rows, seen, cell = rows[more], seen[more], cell[more]
        self._among_all(points, rows, found)
        return self._of_all(found)

    def _of_all(self, found: Ints) -> Ints:
        numbers: Ints = self.first[found]
        return numbers

    def _among_all(self, points: Array, rows: Ints, found: Ints) -> None:
        step = max(_NUMBERS_AT_ONCE // len(self.vectors), 1)
        codes = self.vectors.T
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            squares = np.zeros((len(part), codes.shape[1]))
            for axis, column in enumerate(codes):
                squares += np.square(column - points[part, axis, None])
            found[part] = _smallest(squares, found.shape[1])[0]


class _Cells:
    """Cells of the codes.

    `centres` (M, D), and of each cell the nearest codes: `codes` (M, D + 2, L) as `_extended` needs
    them, from the centre, `radii` (M, L), how far from it they are, and `members` (M, L), which.
    """

    def __init__(self, codes: Array) -> None:
        width = min(len(codes), _CODES_OF_A_LIST)
        self.centres = codes.mean(axis=0, keepdims=True)
        if width < len(codes):
            self.centres = _means(codes, codes[:: max(_CODES_OF_A_CELL, len(codes) // _MOST_CELLS)])
        self._region = _matching(_means(self.centres, self.centres[::_CELLS_OF_A_REGION]))
        regions = _extended(self._region[:-2].T / -2)
        near = min(len(self.centres), 3 * _CELLS_OF_A_REGION)
        self._in_region = _smallest(regions @ _matching(self.centres), near)[0]
        self._of_region = _matching(self.centres[self._in_region])
        self.members = np.concatenate(
            [
                _smallest(_extended(part) @ _matching(codes), width)[0]
                for part in np.array_split(self.centres, -(-len(self.centres) // 64))
            ]
        )
        moved = codes[self.members] - self.centres[:, None]
        self.codes, self.radii = _matching(moved), np.sqrt(np.square(moved).sum(axis=2))

    def nearest(self, seen: Array, cell: Ints, length: int, wanted: int) -> tuple[Ints, Array]:
        """`_smallest` of the squared distances to the first codes of cells, which are ascending."""
        places = np.zeros((len(seen), wanted), dtype=np.int64)
        last = np.zeros(len(seen))
        # a product for every cell, or where few points share one, a copy of codes for every point
        if len(seen) * length > _NUMBERS_FOR_A_CELL * np.count_nonzero(np.diff(cell, prepend=-1)):
            for number, part in _runs(cell):
                squares = seen[part] @ self.codes[number][:, :length]
                places[part], last[part] = _smallest(squares, wanted)
        else:
            for start in range(0, len(seen), _NUMBERS_AT_ONCE // length):
                part = slice(start, start + _NUMBERS_AT_ONCE // length)
                squares = seen[part, None] @ self.codes[cell[part], :, :length]
                places[part], last[part] = _smallest(squares[:, 0], wanted)
        return places, last

    def of(self, points: Array) -> Ints:
        """A cell near to each point: which one changes the work, and not what is found."""
        found = np.zeros(len(points), dtype=np.int64)
        points = _extended(points)
        region = np.zeros(len(points), dtype=np.int64)
        for start in range(0, len(points), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            region[part] = (points[part] @ self._region).argmin(axis=1)
        order = np.argsort(region, kind="stable")
        points = points[order]
        for number, part in _runs(region):
            nearest = (points[part] @ self._of_region[number]).argmin(axis=1)
            found[order[part]] = self._in_region[number, nearest]
        return found


def _runs(numbers: Ints) -> Iterator[tuple[int, slice]]:
    """Each number that occurs, and the slice that it fills when they are sorted, in parts."""
    rows = np.bincount(numbers)
    present = np.flatnonzero(rows)
    ends = np.cumsum(rows[present])
    for number, first, last in zip(present, ends - rows[present], ends, strict=True):
        for start in range(int(first), int(last), _ROWS_AT_ONCE):
            yield int(number), slice(start, min(start + _ROWS_AT_ONCE, int(last)))


def _means(points: Array, centres: Array) -> Array:
    """Centres of points after some rounds of k-means (Lloyd)."""
    centres = centres.copy()
    for _ in range(3):
        parts = np.array_split(_extended(points), -(-len(points) // 512))
        own = np.concatenate([(part @ _matching(centres)).argmin(axis=1) for part in parts])
        counts = np.bincount(own, minlength=len(centres))
        sums = np.stack([np.bincount(own, column, len(centres)) for column in points.T], axis=1)
        centres[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return centres


def _extended(points: Array) -> Array:
    """x, 1, x² (P, D + 2), whose product with `_matching` codes is the squared distance."""
    one = np.ones((len(points), 1))
    return np.hstack([points, one, np.square(points).sum(axis=1, keepdims=True)])


def _matching(codes: Array) -> Array:
    """-2 y, y², 1: (…, K, D) to (…, D + 2, K)."""
    square = np.square(codes).sum(axis=-1, keepdims=True)
    return np.ascontiguousarray(
        np.concatenate([-2 * codes, square, np.ones_like(square)], axis=-1).swapaxes(-1, -2)
    )


def _smallest(squares: Array, wanted: int) -> tuple[Ints, Array]:
    """Places of the smallest values of each row, the smallest first, and the last of the values.

    Numbers that are not negative are ordered as the integers that have their bits. The last bits
    give way to the place, so that a sort without an index is enough. `squares` is used up.
    """
    places = squares.shape[1]
    mask = (1 << (places - 1).bit_length()) - 1
    keys = np.maximum(squares, 0.0).view(np.int64)
    keys &= ~mask
    keys |= np.arange(places)
    if wanted == 1:
        keys = keys.min(axis=1, keepdims=True)
    elif places > 2 * _CODES_OF_A_LIST:
        keys.partition(wanted - 1, axis=1)
        keys = keys[:, :wanted].copy()
    keys.sort(axis=1)
    keys = np.ascontiguousarray(keys[:, :wanted])
    return keys & mask, keys[:, -1].view(np.float64)


# Quantizers -------------------------------------------------------------------------------------


class _Vectors:
    """One codebook, or several whose vectors sum up."""

    def __init__(self, file: Callable[[str], bytes], codes: dict[str, Any]) -> None:
        books = self._books(file, codes)
        self._float32 = [book.astype(np.float32) for book in books]
        self._stages = [_Nearest(book) for book in books]

    def _books(
        self, file: Callable[[str], bytes], codes: dict[str, Any]
    ) -> list[NDArray[np.floating]]:
        with np.load(io.BytesIO(file("codebook.npz"))) as stored:
            book = stored["codebook"]
        return list(book) if book.ndim == 3 else [book]

    def candidates(self, latent: Array, wanted: int) -> Ints:
        """(P, C), or (P, C, Q): the codes of all stages but the last are the nearest."""
        first = []
        for stage, book in zip(self._stages[:-1], self._float32[:-1], strict=True):
            first.append(stage(latent, 1)[:, 0])
            latent = latent - book[first[-1]].astype(np.float64)
        last = self._stages[-1](latent, wanted)
        if not first:
            return last
        return np.stack([np.broadcast_to(i[:, None], last.shape) for i in first] + [last], axis=2)

    def ids(self, latent: Array) -> Ints:
        found: Ints = self.candidates(latent, 1)[:, 0]
        return found

    def vectors(self, ids: Ints) -> NDArray[np.float32]:
        if len(self._float32) == 1:
            return self._float32[0][ids]
        return np.sum([book[ids[..., i]] for i, book in enumerate(self._float32)], axis=0)


class _Affine(_Vectors):
    """A codebook with a common scale and shift."""

    def _books(
        self, file: Callable[[str], bytes], codes: dict[str, Any]
    ) -> list[NDArray[np.floating]]:
        tensors = _tensors(file("tokenizer.safetensors"))
        book, scale, shift = (
            tensors[f"quantizer.{name}"].astype(np.float64) for name in ("codes_", "scale", "shift")
        )
        return [book * (1 + codes["affine_rate"] * scale) + codes["affine_rate"] * shift]


class _Levels(_Vectors):
    """Finite scalar quantization: each dimension is rounded to one of its levels."""

    def __init__(self, file: Callable[[str], bytes], codes: dict[str, Any]) -> None:
        super().__init__(file, codes)
        self._levels = np.array(codes["levels"], dtype=np.int64)
        self._bases = np.concatenate([[1], np.cumprod(self._levels)[:-1]])

    def ids(self, latent: Array) -> Ints:
        level = np.round(latent).astype(np.int64) + self._levels // 2
        found: Ints = (level * self._bases).sum(axis=1)
        return found


class _Bins(_Levels):
    """Quantile bins of each dimension; one id of all, or, of too many, one of each."""

    def __init__(self, file: Callable[[str], bytes], codes: dict[str, Any]) -> None:
        super().__init__(file, codes)
        self._edges = _tensors(file("tokenizer.safetensors"))["quantizer.edges"]

    def ids(self, latent: Array) -> Ints:
        # as the edges were found: a value on an edge in float32 may be below it in float64
        values = latent.astype(np.float32).T
        bins = np.stack(
            [
                edges.searchsorted(column, side="right")
                for edges, column in zip(self._edges, values, strict=True)
            ],
            axis=1,
        )
        found: Ints = bins if len(self._float32) > 1 else (bins * self._bases).sum(axis=1)
        return found


# Codes of a jet, chosen together ----------------------------------------------------------------


def _by_rank(momenta: Array, counts: Ints, owner: Ints) -> Ints:
    """Order of the particles: the hardest of every jet, largest jet first, then the second, …"""
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    order = np.lexsort((-pt, owner))
    same = (pt[order][1:] == pt[order][:-1]) & (owner[1:] == owner[:-1])
    if same.any():
        order = np.lexsort((*momenta.T[::-1], -pt, owner))
    place = np.empty(len(counts), dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    rank = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    of_rank = np.bincount(rank)
    result = np.empty(len(owner), dtype=np.int64)
    result[(np.cumsum(of_rank) - of_rank)[rank] + place[owner]] = order
    return result


def _response(momenta: Array, counts: Ints) -> Array:
    """Relative change of pT and of the mass, change of eta and phi per GeV of px, py, pz, E.

    The entries that are not 0, (11, N): pT by px, py; mass by all four; eta by px, py, pz; phi by
    px, py.
    """
    owner = _owners(counts)
    px, py, pz, energy = (np.bincount(owner, values, len(counts)) for values in momenta.T)
    pt = np.hypot(px, py)
    some = pt > 0
    result = np.zeros((11, len(counts)))
    px, py, pz, energy, pt = (values[some] for values in (px, py, pz, energy, pt))
    floor = (_SMALLEST_MASS_OVER_PT * pt) ** 2
    mass2 = energy**2 - px**2 - py**2 - pz**2
    held = (mass2 > floor) & (counts[some] > 1)
    by_mass = np.where(held, 1 / np.maximum(mass2, floor), 0.0)
    momentum = np.sqrt(pt**2 + pz**2)
    result[:, some] = [
        px / pt**2,
        py / pt**2,
        *(-px * by_mass, -py * by_mass, -pz * by_mass, energy * by_mass),
        *(-px / pt**2 * (pz / momentum), -py / pt**2 * (pz / momentum), 1 / momentum),
        *(-py / pt**2, px / pt**2),
    ]
    return result


def _changes(candidates: Sequence[Array], momenta: Array, response: Array, result: Array) -> None:
    """What each candidate does to pT, mass, eta and phi of the jet, added to `result` (4, C, P)."""
    moved = [one - true for one, true in zip(candidates, momenta.T, strict=True)]
    columns = ((0, 1), (0, 1, 2, 3), (0, 1, 2), (0, 1))
    entries = iter(response)
    for total, axes in zip(result, columns, strict=True):
        for axis in axes:
            total += next(entries) * moved[axis]


def _choose(distortion: Array, change: Array, counts: Ints, sweeps: int, strength: float) -> Ints:
    """Iterated conditional modes, all jets at a time: (P,) numbers of candidates, by rank.

    Every particle takes the candidate for which its distortion (C, P) and `strength` times the
    squared changes (4, C, P) of its jet are smallest, given the candidates of the others.
    """
    of_rank = np.bincount(counts)[::-1].cumsum()[::-1][1:]  # jets with so many particles
    ends = np.cumsum(of_rank)
    each = zip(ends.tolist(), of_rank.tolist(), strict=True)
    ranks = [(slice(end - jets, end), jets) for end, jets in each]
    current = change[:, 0].copy()
    chosen = np.zeros(current.shape[1], dtype=np.int64)
    total = np.zeros((4, len(counts)))
    for rows, jets in ranks:
        total[:, :jets] += current[:, rows]
    for _ in range(sweeps):
        before = chosen.copy()
        for rows, jets in ranks:
            rest = total[:, :jets] - current[:, rows]
            own = change[:, :, rows]
            cost = rest[:, None] + own
            np.square(cost, out=cost)
            cost *= strength
            cost[0] += distortion[:, rows]
            for axis in range(1, 4):
                cost[0] += cost[axis]
            best = cost[0].argmin(axis=0)
            current[:, rows] = np.take_along_axis(own, best[None, None], axis=1)[:, 0]
            chosen[rows] = best
            total[:, :jets] = rest + current[:, rows]
        if (chosen == before).all():
            break
    return chosen
