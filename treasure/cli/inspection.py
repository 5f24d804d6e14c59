"""`treasure inspect`: what a file is, how much is in it, its first rows, its provenance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from treasure import store
from treasure.errors import DataError, TreasureError

__all__ = ["inspect_path"]

_SHOWN_COLUMNS = 10
_SHOWN_ITEMS = 8
_DEEPEST = 4  # spaces of indentation

_console = Console(highlight=False, soft_wrap=True)


def inspect_path(path: Path, rows: int) -> None:
    """Print what is at a path; the kind is recognised from its content."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        _inspect_directory(path)
    elif path.suffix == ".root":
        _inspect_root(path, rows)
    elif path.suffix in (".h5", ".hdf5"):
        _inspect_h5(path, rows)
    elif path.suffix == ".parquet":
        _inspect_parquet(path, rows)
    elif path.suffix == ".json":
        _inspect_json(path)
    else:
        raise DataError(
            f"{path}: neither .root, .h5, .parquet nor .json, nor a folder with a manifest;"
            " cannot tell what it is"
        )
    _provenance(path)


def _headline(path: Path, kind: str, facts: Mapping[str, Any]) -> None:
    _console.print(Text.assemble((str(path), "bold"), f"\n{kind}"))
    _facts(facts, "  ")


def _facts(facts: Mapping[str, Any], indent: str) -> None:
    """One line a fact; a table of facts goes below its name, two levels deep."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value and len(indent) <= _DEEPEST:
            _console.print(f"{indent}{name}:")
            _facts(value, indent + "  ")
        else:
            _console.print(Text.assemble(f"{indent}{name}: ", (_brief(value), "bold")))


def _brief(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)) and len(value) > _SHOWN_ITEMS:
        return f"{', '.join(map(str, value[:_SHOWN_ITEMS]))}, … ({len(value)} in all)"
    if isinstance(value, (list, tuple)):
        return ", ".join(_brief(v) if not isinstance(v, str) else v for v in value)
    if isinstance(value, Mapping):
        simple = all(isinstance(v, (str, int, float)) or v is None for v in value.values())
        parts = [f"{k}={_brief(v)}" if simple else str(k) for k, v in value.items()]
        return f"{{{', '.join(parts[:_SHOWN_ITEMS])}}}"
    return str(value)


def _rows(title: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    if not values:
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    shown = list(columns[:_SHOWN_COLUMNS])
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in values:
        table.add_row(*(_cell(value) for value in row[: len(shown)]))
    _console.print()
    _console.print(table)
    if len(columns) > len(shown):
        _console.print(f"  and {len(columns) - len(shown)} more columns")


def _cell(value: Any) -> str:
    values = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(values, list):
        head = ", ".join(_cell(item) for item in values[:4])
        return f"[{head}{', …' if len(values) > 4 else ''}] ({len(values)})"
    if isinstance(values, float):
        return f"{values:.5g}"
    return str(values)


def _inspect_root(path: Path, rows: int) -> None:
    import uproot

    try:
        with uproot.open(path) as file:
            trees = sorted({key.split(";")[0] for key in file.iterkeys()})
            classes = {name: file[name].classname for name in trees}
            _headline(path, "ROOT file", {"size in bytes": path.stat().st_size, "objects": classes})
            for name, class_name in classes.items():
                if class_name == "TTree":
                    _inspect_tree(file[name], rows)
    except TreasureError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: cannot be read as a ROOT file: {reason}") from None


def _inspect_tree(tree: Any, rows: int) -> None:
    collections = sorted({key.split("_")[0] for key in tree.iterkeys()})
    _console.print(
        Text.assemble(
            "  tree ", (tree.name, "bold"), f": {tree.num_entries:,} entries, {len(tree.keys())} "
            f"branches: {_brief(collections)}",
        ),
        soft_wrap=True,
    )  # fmt: skip
    wanted = [name for name in ("run", "luminosityBlock", "event") if name in tree]
    wanted += [name for name in ("FatJet_pt", "FatJet_eta", "FatJet_msoftdrop") if name in tree]
    if not wanted:
        return
    arrays = {name: tree[name].array(entry_stop=rows, library="np") for name in wanted}
    count = min(rows, tree.num_entries)
    _rows("first entries", wanted, [[arrays[n][i] for n in wanted] for i in range(count)])


def _inspect_h5(path: Path, rows: int) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            keys = {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
            is_jets = {"event_info", "jet_kinematics", "PFCands"} <= set(keys)
            kind = "jet table (HDF5, Aspen Open Jets format)" if is_jets else "HDF5 file"
            count = len(keys["event_info"]) if is_jets else None
            _headline(path, kind, {"size in bytes": path.stat().st_size, "jets": count})
            for name, data in keys.items():
                _console.print(f"  {name}: shape {data.shape}, {data.dtype}, {data.compression}")
            for name, value in file.attrs.items():
                text = _brief(value.tolist() if hasattr(value, "tolist") else value)
                shown = text if len(text) < 200 else f"{text[:200]}…"
                _console.print(Text.assemble(f"  attribute {name}: ", shown), soft_wrap=True)
            if is_jets:
                table = [
                    [*keys["event_info"][i], *keys["jet_kinematics"][i].astype(float)]
                    for i in range(min(rows, len(keys["event_info"])))
                ]
                columns = ["run", "lumi block", "event", "pt", "eta", "phi", "msoftdrop"]
                _rows("first jets", columns, table)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5: {error}") from None


def _inspect_parquet(path: Path, rows: int) -> None:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        columns = file.schema_arrow.names
        kind = "token table (parquet)" if "tokens" in columns else "parquet table"
        _headline(
            path,
            kind,
            {
                "size in bytes": path.stat().st_size,
                "rows": file.metadata.num_rows,
                "row groups": file.metadata.num_row_groups,
                "columns": columns,
            },
        )
        for key, value in (file.schema_arrow.metadata or {}).items():
            text = value.decode(errors="replace")
            shown = text if len(text) < 200 else f"{text[:200]}…"
            _console.print(Text.assemble(f"  metadata {key.decode()}: ", shown), soft_wrap=True)
        if rows and file.metadata.num_rows:
            head = next(file.iter_batches(batch_size=rows)).to_pydict()
            order = sorted(columns, key=lambda name: name != "tokens")
            values = [[head[name][row] for name in order] for row in range(len(head[order[0]]))]
            _rows("first rows", order, values)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from None


def _inspect_json(path: Path) -> None:
    content = store.read_json(path)
    if isinstance(content, dict) and {"dataset", "files", "luminosity_sections"} <= set(content):
        from treasure.fileset.model import Fileset

        fileset = Fileset.load(path)
        facts = {
            "dataset": fileset.dataset,
            "files": len(fileset.files),
            "files left out": [f"{bad.uri}: {bad.reason}" for bad in fileset.bad_files] or "none",
            "events": sum(file.entries for file in fileset.files),
            "bytes": sum(file.size for file in fileset.files),
        }
        _headline(path, "fileset", facts)
        columns = ["uri", "entries", "size", "checksum"]
        table = [[f.uri, f.entries, f.size, f.checksum] for f in fileset.files[:5]]
        _rows("first files", columns, table)
    elif isinstance(content, dict) and isinstance(content.get("cutflow"), list):
        facts = {k: v for k, v in content.items() if isinstance(v, (str, int, float))}
        _headline(path, "cutflow of a skim", facts)
        columns = ["cut", "events", "jets", "weight"]
        _rows("cutflow", columns, [[step[c] for c in columns] for step in content["cutflow"]])
    elif isinstance(content, dict) and path.name == store.MANIFEST:
        _inspect_manifest(path, content)
    elif isinstance(content, dict):
        _headline(path, "JSON", content)
    else:
        _headline(path, "JSON", {"type": type(content).__name__, "length": len(content)})


def _inspect_directory(path: Path) -> None:
    if (path / "tokenizer.json").is_file():
        described = store.read_json(path / "tokenizer.json")
        _headline(path, "tokenizer artefact", described)
        if (path / "metrics.json").is_file():
            _headline(path / "metrics.json", "metrics", store.read_json(path / "metrics.json"))
    elif (path / store.MANIFEST).is_file():
        _inspect_manifest(path / store.MANIFEST, store.read_manifest(path))
    else:
        inside = sorted(p.name for p in path.iterdir())
        raise DataError(
            f"{path}: a folder without {store.MANIFEST} or tokenizer.json: not a finished stage,"
            f" release or tokenizer (it holds {_brief(inside) or 'nothing'})"
        )


def _inspect_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    kind = "release" if (path.parent / "croissant.json").is_file() else "finished stage"
    simple = {k: v for k, v in manifest.items() if isinstance(v, (str, int, float))}
    summary = manifest.get("summary", {})
    _headline(path.parent, kind, {**simple, **({"summary": summary} if summary else {})})
    files = manifest["files"]
    if isinstance(files, dict):
        files = [{"path": name, **facts} for name, facts in files.items()]
    columns = [c for c in ("path", "size", "rows", "sha256") if any(c in f for f in files)]
    for file in files:
        file["sha256"] = f"{str(file.get('sha256', ''))[:12]}…"
    files = sorted(files, key=lambda file: not file.get("rows"))  # tables first
    table = [[file.get(column, "") for column in columns] for file in files]
    _rows(f"files ({len(files)})", columns, table[:_SHOWN_ITEMS])


def _provenance(path: Path) -> None:
    """The stage that made a file: the nearest manifest above it that says so."""
    for folder in [path, *path.resolve().parents][:6]:
        if not (folder / store.MANIFEST).is_file() or folder / store.MANIFEST == path:
            continue
        manifest = store.read_manifest(folder)
        if "fingerprint" not in manifest or "task" not in manifest:
            continue
        _console.print()
        _console.print(
            Text.assemble(
                "made by ", (str(manifest.get("label", manifest["task"])), "bold"),
                f", fingerprint {manifest['fingerprint'][:10]}, configuration "
                f"{manifest.get('config', {}).get('name')}, "
                f"software treasure {manifest.get('software', {}).get('treasure')}",
            ),
            soft_wrap=True,
        )  # fmt: skip
        for name, fingerprints in manifest.get("identity", {}).get("requires", {}).items():
            _console.print(f"  from {name}: {', '.join(f[:10] for f in fingerprints)}")
        return
