"""The dataset card (`README.md`), made from the manifest: front matter for machines, then text."""

from typing import Any

from huggingface_hub import DatasetCardData

from treasure.jets.splits import SPLITS
from treasure.release.layout import (
    CHECKSUMS,
    DEFAULT_CONFIGURATION,
    READINESS_JSON,
    READINESS_PAGE,
    TOKENS,
)
from treasure.release.manifest import Manifest

__all__ = ["citation", "dataset_card"]

# The SPDX identifiers that the Hugging Face hub knows, in lower case (hf.co/docs/hub).
_HUB_LICENCES = {
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "mit", "odbl", "odc-by", "pddl", "unlicense",
}  # fmt: skip
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


def citation(
    name: str, title: str, authors: list[str], year: int | None, version: str, url: str | None
) -> str:
    """BibTeX entry of a release."""
    lines = [
        f"  title = {{{_balanced(title)}}}",
        f"  author = {{{_balanced(' and '.join(authors))}}}",
        f"  version = {{{version}}}",
    ]
    lines += [f"  year = {{{year}}}"] if year else []
    lines += [f"  url = {{{url}}}"] if url else []
    return f"@misc{{{name},\n" + ",\n".join(lines) + "\n}"


def _balanced(text: str) -> str:
    return text.replace("{", "").replace("}", "")


def dataset_card(manifest: Manifest) -> str:
    """Dataset card of a release, with Hugging Face front matter.

    The commands in it run in the directory of the release.
    """
    return (
        f"---\n{_front_matter(manifest).to_yaml()}\n---\n\n"
        + "\n\n".join(
            [
                f"# {_inline(manifest.title)}",
                manifest.description,
                _contents(manifest),
                _columns(manifest),
                _tokenizer(manifest),
                _readiness(manifest),
                _loading(manifest),
                _provenance(manifest),
                f"## Licence\n\n{_licence(manifest)}",
                f"## Citation\n\n```bibtex\n{manifest.citation}\n```",
            ]
        )
        + "\n"
    )


def _front_matter(manifest: Manifest) -> DatasetCardData:
    licence = manifest.licence.lower()
    known = licence in _HUB_LICENCES
    extra: dict[str, Any] = {} if known else {
        "license_name": licence,
        "license_link": f"https://spdx.org/licenses/{manifest.licence}.html",
    }  # fmt: skip
    rows = manifest.rows()
    return DatasetCardData(
        pretty_name=manifest.title,
        license=licence if known else "other",
        size_categories=[next((name for limit, name in _SIZES if rows < limit), "n>1T")],
        tags=sorted({*manifest.keywords, "croissant"}),
        configs=_configurations(manifest),
        **extra,
    )


def _configurations(manifest: Manifest) -> list[dict[str, Any]]:
    def entry(name: str, dataset: str | None) -> dict[str, Any]:
        files = [
            {"split": split, "path": f"{TOKENS}/{dataset or '*'}/{split}/*.parquet"}
            for split in SPLITS
            if manifest.rows(dataset, split)
        ]
        return {"config_name": name, "data_files": files}

    datasets = [name for name in manifest.datasets if manifest.rows(name)]
    return [entry(DEFAULT_CONFIGURATION, None), *(entry(name, name) for name in datasets)]


def _contents(manifest: Manifest) -> str:
    rows = []
    for dataset, entry in manifest.datasets.items():
        for split in SPLITS:
            files = manifest.token_files(dataset, split)
            size = sum(manifest.files[path].size for path in files)
            labels = ", ".join(f"{k}: {n:,}" for k, n in entry.labels.get(split, {}).items())
            rows.append(
                [dataset, split, f"{entry.rows[split]:,}", labels, len(files), _bytes(size)]
            )
    total = sum(file.size for file in manifest.files.values())
    return (
        "## What is in it\n\n"
        f"Version {manifest.version}: {manifest.rows():,} rows, one a {manifest.row}, in "
        f"{len(manifest.token_files())} token files; {_bytes(total)} in all with the tokenizer.\n\n"
        + _table(["dataset", "split", "rows", "rows by label", "files", "size"], rows)
        + f"\n\nFiles are named `{TOKENS}/<dataset>/<split>/<stem>_tokenized.parquet`. A shard "
        "without rows in a split has no file there; `manifest.json` lists every shard with its "
        "rows, zeros included."
    )


def _columns(manifest: Manifest) -> str:
    rows = [[f"`{c.name}`", f"`{c.type}`", c.description] for c in manifest.schemas["tokens"]]
    return "## Columns\n\n" + _table(["column", "type", "meaning"], rows)


def _tokenizer(manifest: Manifest) -> str:
    tokenizer = manifest.tokenizer
    size = tokenizer.vocabulary_size
    ids = "" if size is None else f"Token ids run from 0 to {size - 1}, without special tokens. "
    books = f"A token is {tokenizer.codebooks} ids, one a codebook. " * (tokenizer.codebooks > 1)
    features = ", ".join(f"`{name}`" for name in tokenizer.features)
    return (
        "## Tokenizer\n\n"
        f"The directory `{tokenizer.path}/` holds the tokenizer that made the tokens and turns "
        f"them back into particles (fingerprint `{tokenizer.fingerprint}`). {ids}{books}"
        + (f"Features of a particle: {features}." if features else "")
    )


def _readiness(manifest: Manifest) -> str:
    rows = [[item.replace("_", " "), verdict] for item, verdict in manifest.readiness.items()]
    return (
        "## AI-readiness\n\n"
        + _table(["item", "verdict"], rows)
        + f"\n\nNumbers and thresholds: `{READINESS_JSON}`, for people `{READINESS_PAGE}`."
    )


def _loading(manifest: Manifest) -> str:
    dataset = next(name for name in manifest.datasets if manifest.rows(name))
    split = next(split for split in SPLITS if manifest.rows(dataset, split))
    return f"""## How to load it

The commands run in the directory of the release. First check that every byte arrived:

```bash
sha256sum --check --quiet {CHECKSUMS}
```

With TREASURE, which checks files against the manifest before it reads them:

```python
from treasure.release.read import Release

release = Release(".")
for table in release.tables("{dataset}", "{split}", columns=["label", "tokens"]):
    print(table.num_rows, table["tokens"][0].as_py()[:5])
    break
```

With pyarrow:

```python
import pyarrow.dataset

table = pyarrow.dataset.dataset("{TOKENS}/{dataset}/{split}").to_table()
print(table.num_rows)
```

With Hugging Face datasets (configuration `{DEFAULT_CONFIGURATION}`: all datasets together):

```python
from datasets import load_dataset  # pip install datasets

dataset = load_dataset(".", "{dataset}", split="{split}")
print(dataset[0]["tokens"][:5])
```

With mlcroissant (one record set a dataset):

```python
import mlcroissant

records = mlcroissant.Dataset("croissant.json").records("{dataset}")
print(next(iter(records))["{dataset}/tokens"][:5])
```

From tokens to particles:

```python
from treasure.release.read import Release
from treasure.tokenizer.artefact import Tokenizer

tokenizer = Tokenizer.load(Release(".").tokenizer_directory)
print(tokenizer.vocabulary_size)
```"""


def _provenance(manifest: Manifest) -> str:
    lines = [f"- derived from {source}" for source in manifest.derived_from]
    lines += [f"- {key}: {_brief(value)}" for key, value in sorted(manifest.provenance.items())]
    return (
        "## Provenance\n\n"
        + "\n".join(lines)
        + ("\n\n" if lines else "")
        + "All of it, down to the source files, is under `provenance` in `manifest.json`."
    )


def _brief(value: Any) -> str:
    """One line about a JSON value."""
    if isinstance(value, dict):
        names = ", ".join(map(_inline, map(str, list(value)[:8])))
        return f"{names}{', …' * (len(value) > 8)}"
    if isinstance(value, list):
        return f"{len(value)} entries" if len(value) != 1 else "1 entry"
    return _inline(str(value))[:200]


def _licence(manifest: Manifest) -> str:
    return f"[{manifest.licence}](https://spdx.org/licenses/{manifest.licence}.html)"


def _inline(text: str) -> str:
    """Text that stays on its line and inside its cell."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if line.startswith("`") else line.replace("<", "&lt;")


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_inline(str(c)) for c in line) + " |" for line in lines)


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if unit != "B" else f"{size} B"
        value /= 1000
    return f"{value:.3g} TB"
