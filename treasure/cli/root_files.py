"""`treasure inspect` of ROOT files."""

from pathlib import Path
from typing import Any

import uproot
from rich.text import Text

from treasure.cli.terminal import brief, console, headline, rows
from treasure.errors import DataError, TreasureError

__all__ = ["inspect_root"]


def inspect_root(path: Path, shown_rows: int) -> None:
    """Print the objects of a ROOT file, and the first entries of its trees."""
    try:
        with uproot.open(path) as file:
            trees = sorted({key.split(";")[0] for key in file.iterkeys()})
            classes = {name: file[name].classname for name in trees}
            headline(path, "ROOT file", {"size in bytes": path.stat().st_size, "objects": classes})
            if (end := file.file.fEND) > path.stat().st_size:
                console.print(
                    Text(f"  truncated: its header says {end:,} bytes; copy it again", "bold red")
                )
            for name, class_name in classes.items():
                if class_name == "TTree":
                    _inspect_tree(file[name], shown_rows)
    except TreasureError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: cannot be read as a ROOT file: {reason}") from None


def _inspect_tree(tree: Any, shown_rows: int) -> None:
    collections = sorted({key.split("_")[0] for key in tree.iterkeys()})
    console.print(
        Text.assemble(
            "  tree ", (tree.name, "bold"), f": {tree.num_entries:,} entries, {len(tree.keys())} "
            f"branches: {brief(collections)}",
        ),
        soft_wrap=True,
    )  # fmt: skip
    wanted = [name for name in ("run", "luminosityBlock", "event") if name in tree]
    wanted += [name for name in ("FatJet_pt", "FatJet_eta", "FatJet_msoftdrop") if name in tree]
    if not wanted:
        return
    arrays = {name: tree[name].array(entry_stop=shown_rows, library="np") for name in wanted}
    count = min(shown_rows, tree.num_entries)
    rows("first entries", wanted, [[arrays[n][i] for n in wanted] for i in range(count)])
