"""The model card (`README.md`) of a tokenizer: front matter for machines, then text for people.

All of it comes from ``tokenizer.json``. No checksum covers the card, so that it may be edited.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CARD", "CODEBOOK", "DESCRIPTION", "PARAMETERS", "model_card", "summary"]

DESCRIPTION, PARAMETERS, CODEBOOK = "tokenizer.json", "tokenizer.safetensors", "codebook.npz"
CARD = "README.md"

# Of the metrics, what is said of a tokenizer wherever it goes.
_SAID = (
    "jets", "particles", "clipped_particles", "codes_used", "perplexity", "resolution", "agreement",
    "response", "tau32",
)  # fmt: skip
_MEANING = {
    DESCRIPTION: "what it is, with the checksums of the files below",
    PARAMETERS: "parameters of networks and quantizer",
    CODEBOOK: "latent vectors of the ids: `codebook`, float32",
    "encoder.onnx": "standardised features to latent vectors",
    "decoder.onnx": "latent vectors of ids to standardised features",
    "portable.py": "encoding and decoding with numpy and onnxruntime alone",
}


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What ``tokenizer.json`` has of ``metrics.json``, as `measured`."""
    return {key: metrics[key] for key in _SAID if key in metrics}


def model_card(content: Mapping[str, Any], files: Sequence[str]) -> str:
    """Model card with Hugging Face front matter.

    Parameters
    ----------
    content
        What ``tokenizer.json`` says.
    files
        Names of the files beside it.
    """
    parts = [
        _front_matter(content),
        f"# Jet tokenizer {content['fingerprint'][:10]}",
        _what_it_is(content),
        "## Features\n\n" + _features(content),
        "## Training\n\n" + _training(content["provenance"]),
        "## Measured\n\n" + _measured(content.get("measured") or {}, content["vocabulary"]["size"]),
        "## How to use it\n\n" + _use(portable="portable.py" in files),
        "## Files\n\n" + _table(
            ("file", "content"), [(f"`{n}`", _MEANING.get(n, "")) for n in (DESCRIPTION, *files)]
        ),
        "## Licence\n\nThat of TREASURE, BSD-3-Clause, unless who trained it says otherwise here.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _front_matter(content: Mapping[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    kinds = [_word(content[part]["kind"]) for part in ("features", "model", "quantizer")]
    data = ModelCardData(
        library_name="treasure",
        license="bsd-3-clause",
        tags=["high-energy-physics", "jets", "tokenizer", *kinds],
    )
    return f"---\n{data.to_yaml()}\n---"


def _word(kind: str) -> str:
    """The name of a class of one's own, of `module:Class`."""
    return kind.rpartition(":")[2]


def _what_it_is(content: Mapping[str, Any]) -> str:
    vocabulary, model, quantizer = (content[key] for key in ("vocabulary", "model", "quantizer"))
    size, books = vocabulary["size"], vocabulary["codebooks"]
    ids = f"{books} ids, each of" if books > 1 else "one id of"
    lines = [
        f"Turns each particle of a jet into {ids} {size:,} (0 to {size - 1}, no special tokens),"
        " and back into its momentum. Written by TREASURE; fingerprint"
        f" `{content['fingerprint']}`.",
        f"Networks: `{_word(model['kind'])}`. Quantizer: `{_word(quantizer['kind'])}`,"
        f" {quantizer['dimension']} dimensions.",
    ]
    constraint = content["jet_constraint"]
    if constraint["candidates"]:
        lines.append(
            f"Every particle takes one of its {constraint['candidates']} nearest codes, so chosen"
            " that the jet keeps its pT, mass and direction. A code means the same in every jet."
        )
    return "\n\n".join(lines)


def _features(content: Mapping[str, Any]) -> str:
    rows = [
        (f"`{f['name']}`", f"{f['range'][0]:g} to {f['range'][1]:g}", f["transform"])
        for f in content["features"]["list"]
    ]
    return _table(("feature", "range", "transform"), rows)


def _training(provenance: Mapping[str, Any]) -> str:
    datasets = provenance.get("datasets")
    if not isinstance(datasets, Mapping):
        return "Nothing is recorded."
    names = ", ".join(f"{name} ({len(files)} files)" for name, files in datasets.items())
    numbers = [
        f"{name.replace('_', ' ')} {provenance[name]:,}"
        for name in ("jets", "particles", "best_epoch", "seed")
        if isinstance(provenance.get(name), int)
    ]
    where = f"On {provenance.get('device')}, with torch {provenance.get('torch')}."
    return f"Datasets: {names}. " + ", ".join(numbers).capitalize() + f". {where}"


def _measured(measured: Mapping[str, Any], size: int) -> str:
    if not measured:
        return "Nothing is recorded."
    rows = [
        (group, *(f"{jet[name][key]:.4f}" for name in ("jet_pt", "jet_mass") for key in
                  ("median", "iqr_over_median")))
        for group, jet in measured["response"].items()
    ]  # fmt: skip
    columns = ("jets", "median pT", "pT width", "median mass", "mass width")
    return (
        f"On {measured['jets']:,} jets that it was not trained on, decoded over original; a width"
        " is the interquartile range over the median.\n\n" + _table(columns, rows) + "\n\n"
        f"Codes in use: {measured['codes_used']:,} of {size:,}; particles outside of the"
        f" range of the features: {measured['clipped_particles']:,} of {measured['particles']:,}."
    )


def _use(*, portable: bool) -> str:
    text = """`candidates` is (jets, particles, ≥4): px, py, pz, E in GeV, zero-padded. `kinematics`
is (jets, ≥3): pt, eta, phi. In the folder of the tokenizer:

```python
import treasure

tokenizer = treasure.Tokenizer.load(".")  # or "hf://owner/name", or "https://host/folder"
tokens = tokenizer.encode(candidates, kinematics)
decoded = tokenizer.decode(tokens, kinematics)
```"""
    if not portable:
        return text + "\n\nIt needs torch: there are no graphs of such networks or codes without."
    return (
        text
        + """

Without TREASURE and torch (`pip install numpy onnxruntime`), the same tokens:

```python
from portable import Tokenizer

tokenizer = Tokenizer(".")
ids, counts = tokenizer.encode(candidates, kinematics)
momenta = tokenizer.decode(ids, counts, kinematics[:, 1:3])
```"""
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_inline(cell) for cell in line) + " |" for line in lines)


def _inline(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
