"""Tokens as gabbro (OmniJet-alpha, arXiv:2403.05618) reads and writes them.

A parquet file has one column without a name, a ragged list of int64 for each jet: 0, then code + 1
of each particle, then K + 1. The class of the jets is the name of the file up to the first ``_``.
At most 128 particles a jet.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.store import canonical_json
from treasure.tokens.dialects.blocks import TokenBlock, TokenImport, cut, token_blocks
from treasure.tokens.dialects.dialect import OF_TOKENS, Dialect, Options, Report
from treasure.tokens.dialects.parquet import (
    ParquetBlocks,
    RowGroups,
    columns_of,
    flat_lists,
    parquet_writer,
)
from treasure.tokens.dialects.vocabulary import (
    BELIEVED,
    check_table,
    codebook_of,
    known_of,
    vocabulary_size,
)
from treasure.tokens.table import TokenTable

__all__ = ["Gabbro"]

MOST_PARTICLES = 128
START = 0
NAMES = {0: "ZJetsToNuNu", 1: "TTBar"}
"""Class → how names of files begin: QCD, and hadronic decays of top quarks."""

_FEATURES = ("log_pt", "delta_eta", "delta_phi")
_SCHEMA = pa.schema(
    [pa.field("", pa.large_list(pa.field("item", pa.int64(), nullable=False)), nullable=False)]
)


def _node(kind: str, name: str) -> dict[str, Any]:
    return {
        "mask_type": None,
        "node_type": kind,
        "mask_parameters": None,
        "node_parameters": {},
        "record_is_tuple": None,
        "record_is_scalar": False,
        "is_nonnullable_nulltype": False,
        "option_type": False,
        "field_name": name,
    }


# What awkward notes of such an array, so that it reads the column as an array and not as a record.
_AWKWARD = {
    "awkward_array_metadata": canonical_json(
        {
            "": {
                **_node("ListOffsetArray", ""),
                "subfield_metadata": [_node("NumpyArray", "item")],
            }
        }
    )
}


class Gabbro(Dialect, kind="gabbro"):
    """Ragged tokens with start and end."""

    summary: ClassVar[str] = "gabbro (OmniJet-alpha): parquet, ragged tokens with start and end"
    imports_to: ClassVar[tuple[str, ...]] = (".parquet",)
    reads: ClassVar[frozenset[str]] = OF_TOKENS | {"names"}
    writes: ClassVar[frozenset[str]] = frozenset({"tokenizer", "codebook", "names"})

    @classmethod
    def recognises(cls, source: Path) -> bool:
        return columns_of(source) == [""] or (source / "decoder_weights.npz").is_file()

    def write(self, source: Path, path: Path, options: Options) -> Report:
        """Write the jets of each class into a file whose name says the class.

        `path` is a folder, or a file whose name begins with the class of all jets.
        """
        report = Report()
        names = {**NAMES, **options.names}
        for name in names.values():
            if not re.fullmatch(r"[A-Za-z0-9.+-]+", name):
                raise DataError(
                    f"{path}: {name!r} cannot be a class of gabbro, which reads the name of a file"
                    " up to the first '_'; take letters and digits"
                )
        if len(set(names.values())) < len(names):
            said = ", ".join(f"{number}={name}" for number, name in sorted(names.items()))
            raise DataError(f"{path}: two classes of one name ({said}); give each its own")
        writers: dict[int, RowGroups] = {}
        jets_cut = particles_cut = 0
        with TokenTable(source) as table, ExitStack() as files:
            check_table(table, known_of(options), options)
            if table.metadata.codebooks != 1:
                raise DataError(
                    f"{source}: {table.metadata.codebooks} codes a particle; gabbro has one. Export"
                    " to heptokens-npz"
                )
            for block in token_blocks(table):
                block, jets, particles = cut(block, MOST_PARTICLES)
                jets_cut, particles_cut = jets_cut + jets, particles_cut + particles
                for label in np.unique(block.label).tolist():
                    if label not in writers:
                        into = _file_of(source, path, label, names)
                        writers[label] = files.enter_context(
                            parquet_writer(into, _SCHEMA, _AWKWARD)
                        )
                        report.files.append(into)
                    some = block.of(block.label == label)
                    rows = _sequences(some, table.metadata.size)
                    writers[label].write(pa.Table.from_arrays([rows], schema=_SCHEMA))
                report.jets += len(block)
                report.particles += len(block.ids)
            if not writers:
                if _is_folder(path):
                    raise DataError(f"{source}: no jets, so that no class names a file in {path}")
                files.enter_context(parquet_writer(path, _SCHEMA, _AWKWARD))
                report.files.append(path)
        report.losses.append(
            "run, section, event and number of each jet, its split, pT, axis and soft-drop mass"
        )
        if jets_cut:
            report.losses.append(
                f"{particles_cut:,} particles of {jets_cut:,} jets with more than {MOST_PARTICLES}"
            )
        report.notes.append("the class is in the name of the file alone")
        return report

    def read(self, source: Path, path: Path, options: Options) -> Report:
        """Import a file of tokens; or a folder with gabbro's weights, as a tokenizer."""
        if source.is_dir():
            from treasure.tokenizer.gabbro import import_gabbro

            return Report(files=import_gabbro(source, path), notes=["a tokenizer without encoder"])
        known = known_of(options)
        size = vocabulary_size(
            source,
            {
                "--vocabulary": options.vocabulary,
                "tokenizer or codebook": known.sizes.get("size"),
                **_said_beside(source),
            },
        )
        if known.sizes.get("codebooks", 1) != 1:
            raise DataError(f"{source}: gabbro has one code a particle, the tokenizer given more")
        label, said = options.label, None
        if label is None:
            first = source.name.split("_")[0]
            label = {name: key for key, name in {**NAMES, **options.names}.items()}.get(first, -1)
            said = f"class {label}: the file is named {first}_…"
        with (
            ParquetBlocks(source) as file,
            TokenImport(
                source,
                path,
                options,
                size=size,
                features=known.features or _FEATURES,
                fingerprint=known.fingerprint,
                room=MOST_PARTICLES,
            ) as table,
        ):
            if file.schema.names != [""]:
                raise DataError(
                    f"{source}: columns {', '.join(file.schema.names[:6])}; a file of gabbro has"
                    " one, without a name"
                )
            for first_row, rows in file.blocks([""]):
                values, counts = flat_lists(
                    rows.column(0), f"{source}, rows {first_row} and on", "iu"
                )
                ids, counts = _codes(values, counts, size, str(source), first_row)
                event = np.arange(first_row, first_row + len(counts))
                table.write(TokenBlock(ids, counts, np.full(len(counts), label), event))
        if said:
            table.report.notes.append(said)
        if options.tokenizer is not None:
            table.report.notes.append(BELIEVED)
        return table.report


def _is_folder(path: Path) -> bool:
    return path.is_dir() or path.suffix != ".parquet"


def _file_of(source: Path, path: Path, label: int, names: dict[int, str]) -> Path:
    """The file for the jets of a class."""
    if label not in names:
        raise DataError(
            f"{source}: jets of class {label}, which has no name in gabbro's file names; say"
            f" --name {label}=NAME (gabbro knows {', '.join(NAMES.values())})"
        )
    if _is_folder(path):
        return path / f"{names[label]}_{source.stem}.parquet"
    if path.name.split("_")[0] != names[label]:
        raise DataError(
            f"{path}: gabbro reads the class from the name up to the first '_', and there are jets"
            f" of class {label}; name it {names[label]}_….parquet, or give a folder"
        )
    return path


def _sequences(block: TokenBlock, size: int) -> pa.Array:
    """Start, codes + 1, end of each jet."""
    ends = np.cumsum(block.counts + 2)
    values = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
    particle = np.ones(len(values), bool)
    particle[ends - 1] = particle[ends - block.counts - 2] = False
    values[ends - block.counts - 2] = START
    values[ends - 1] = size + 1
    values[particle] = block.ids + 1
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, pa.array(values), type=_SCHEMA.field(0).type)


def _codes(
    values: NDArray[Any], lengths: NDArray[np.int64], size: int, where: str, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes without start, end and shift, and their numbers."""
    if values.dtype == np.uint64 and (values > 2**62).any():
        raise DataError(f"{where}: a token of {values.max()}; a vocabulary of {size} was expected")
    values = values.astype(np.int64)
    ends = np.cumsum(lengths)

    def refuse(bad: NDArray[np.bool_], found: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            jet = values[ends[row] - lengths[row] : ends[row]]
            raise DataError(
                f"{where}, row {first + row}: {found.format(*jet[:1], last=jet[-1:].tolist())}; a"
                f" jet is 0, codes + 1, and {size + 1} with a vocabulary of {size}"
            )

    refuse(lengths < 2, "fewer than two tokens")
    starts = ends - lengths
    refuse(values[starts] != START, "begins with {0}")
    refuse(values[ends - 1] != size + 1, "ends with {last[0]}")
    particle = np.ones(len(values), bool)
    particle[starts] = particle[ends - 1] = False
    wrong = particle & ((values < 1) | (values > size))
    if wrong.any():
        place = int(np.argmax(wrong))
        row = first + int(np.searchsorted(ends, place, side="right"))
        raise DataError(
            f"{where}, row {row}: token {values[place]} among the particles; a vocabulary of {size}"
            f" has 1 to {size} there"
        )
    return values[particle] - 1, lengths - 2


def _said_beside(source: Path) -> dict[str, int | None]:
    """K as gabbro's files beside the tokens say it."""
    said: dict[str, int | None] = {}
    config, codebook = source.with_name("config.yaml"), source.with_name("codebook.npz")
    if config.is_file():
        try:
            content = yaml.safe_load(config.read_text(encoding="utf-8"))
            found = content["model"]["model_kwargs"]["vq_kwargs"]["num_codes"]
            said["config.yaml"] = found if isinstance(found, int) else None
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
            pass
    if codebook.is_file():
        said["codebook.npz"] = int(codebook_of(codebook).shape[1])
    return said
