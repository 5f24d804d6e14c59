"""`treasure inspect` of folders: tokenizers, stages, releases; and the stage that made a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from treasure import store
from treasure.cli.terminal import SHOWN_ITEMS, brief, console, headline, rows
from treasure.errors import DataError

__all__ = ["inspect_directory", "inspect_manifest", "provenance"]


def inspect_directory(path: Path) -> None:
    """Print what the folder of an artefact, a stage or a release holds."""
    if (path / "tokenizer.json").is_file():
        _inspect_tokenizer(path)
    elif (path / store.MANIFEST).is_file():
        inspect_manifest(path / store.MANIFEST, store.read_manifest(path))
    elif branches := sorted(path.glob(f"*/{store.MANIFEST}")):
        _inspect_branches(path, branches)
    else:
        inside = sorted(p.name for p in path.iterdir())
        raise DataError(
            f"{path}: a folder without {store.MANIFEST} or tokenizer.json: not a finished stage,"
            f" release or tokenizer (it holds {brief(inside) or 'nothing'})"
        )


def _inspect_tokenizer(path: Path) -> None:
    """Print what a tokenizer is; its configuration is that of `tokenizer.json`, and left there."""
    described = store.read_json(path / "tokenizer.json")
    try:
        model, quantizer = described["model"], described["quantizer"]
        made_from = described.get("provenance", {})
        measured = {k: v for k, v in described.get("measured", {}).items() if v != {}}
        if "response" in measured:  # of each class, of each quantity: a line each
            measured["response"] = {
                f"{name}, {kind}": found
                for kind, quantities in measured["response"].items()
                for name, found in quantities.items()
            }
        headline(
            path,
            "tokenizer artefact",
            {
                "fingerprint": described["fingerprint"],
                "vocabulary": dict(described["vocabulary"]),
                "networks": model["kind"],
                "quantizer": f"{quantizer['kind']}, {quantizer['dimension']} dimensions",
                "codes to choose among": described["jet_constraint"]["candidates"] or "the nearest",
                "calibration": described["calibration"],
                "trained on": {k: v for k, v in made_from.items() if k != "training_identity"},
                "measured": measured or "nothing",
                "format version": described["format_version"],
            },
        )
        shown = ("name", "range", "mean", "std", "transform")
        features = [
            [tuple(each[key]) if key == "range" else each.get(key, "") for key in shown]
            for each in described["features"]["list"]
        ]
        files = [[name, f"{facts['size']:,}"] for name, facts in described["files"].items()]
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path / 'tokenizer.json'}: not the description of a tokenizer ({error!r})"
        ) from None
    rows(f"features ({len(features)})", shown, features)
    rows(f"files ({len(files)})", ("path", "size"), files)


def _inspect_branches(path: Path, manifests: list[Path]) -> None:
    """Print what the finished branches of a stage say of themselves."""
    found = {manifest.parent.name: store.read_manifest(manifest.parent) for manifest in manifests}
    names: list[str] = []
    for manifest in found.values():
        counts = manifest.get("summary", {})
        names += [n for n, v in counts.items() if isinstance(v, (int, float)) and n not in names]
    task = next(iter(found.values())).get("task", "unknown")
    unfinished = sum(1 for p in path.iterdir() if p.is_dir() and p.name not in found)
    headline(
        path,
        f"stage of {len(found)} finished branches",
        {"task": task} | ({"unfinished branches": unfinished} if unfinished else {}),
    )
    table = [
        [branch, *(manifest.get("summary", {}).get(name, "") for name in names)]
        for branch, manifest in found.items()
    ]
    rows(f"branches ({len(found)})", ["branch", *names], table[:SHOWN_ITEMS])


def inspect_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Print what a manifest says of the stage or release in its folder."""
    kind = "release" if (path.parent / "croissant.json").is_file() else "finished stage"
    simple = {k: v for k, v in manifest.items() if isinstance(v, (str, int, float))}
    summary = manifest.get("summary", {})
    headline(path.parent, kind, {**simple, **({"summary": summary} if summary else {})})
    files = manifest["files"]
    if isinstance(files, dict):
        files = [{"path": name, **facts} for name, facts in files.items()]
    columns = [c for c in ("path", "size", "rows", "sha256") if any(c in f for f in files)]
    for file in files:
        file["sha256"] = f"{str(file.get('sha256', ''))[:12]}…"
    files = sorted(files, key=lambda file: not file.get("rows"))  # tables first
    table = [[file.get(column, "") for column in columns] for file in files]
    rows(f"files ({len(files)})", columns, table[:SHOWN_ITEMS])


def provenance(path: Path) -> None:
    """Print the stage that made a file: the nearest manifest above it that says so."""
    for folder in [path, *path.resolve().parents][:6]:
        if not (folder / store.MANIFEST).is_file() or folder / store.MANIFEST == path:
            continue
        manifest = store.read_manifest(folder)
        if "fingerprint" not in manifest or "task" not in manifest:
            continue
        console.print()
        console.print(
            Text.assemble(
                "made by ", (str(manifest.get("label", manifest["task"])), "bold"),
                f", fingerprint {manifest['fingerprint'][:10]}, configuration "
                f"{manifest.get('config', {}).get('name')}, "
                f"software treasure {manifest.get('software', {}).get('treasure')}",
            ),
            soft_wrap=True,
        )  # fmt: skip
        for name, fingerprints in manifest.get("identity", {}).get("requires", {}).items():
            console.print(f"  from {name}: {', '.join(f[:10] for f in fingerprints)}")
        return
