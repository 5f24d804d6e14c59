"""gabbro's tokenizer as one of ours, against a decoder written from its description."""

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml

from treasure.errors import DataError
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.gabbro import import_gabbro
from treasure.tokens.dialects import Options, export_file, import_file


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """A copy of gabbro's files."""
    copy = tmp_path / "gabbro"
    copy.mkdir()
    for path in (shared / "reference/dialects/gabbro").iterdir():
        shutil.copyfile(path, copy / path.name)
    return copy


def layer_norm(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(x: np.ndarray, weights: dict, name: str, heads: int = 8) -> np.ndarray:
    qkv = x @ weights[f"{name}.in_proj_weight"].T + weights[f"{name}.in_proj_bias"]
    q, k, v = (part.reshape(len(x), heads, -1).swapaxes(0, 1) for part in np.split(qkv, 3, axis=1))
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2])
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    mixed = (scores / scores.sum(axis=2, keepdims=True)) @ v
    return linear(mixed.swapaxes(0, 1).reshape(len(x), -1), weights, f"{name}.out_proj")


def decode_as_described(codes: np.ndarray, book: dict, weights: dict) -> np.ndarray:
    """pt, delta eta and delta phi of the particles of one jet, which has no padding."""
    z = (book["affine_scale"] * book["codebook_raw"] + book["affine_bias"])[codes]
    x = linear(z.astype(np.float64), weights, "latent_projection_out")
    for number in range(4):
        block = f"decoder_normformer.blocks.{number}"
        mixed = attention(layer_norm(x, weights, f"{block}.norm1"), weights, f"{block}.attn")
        x = layer_norm(mixed, weights, f"{block}.norm2") + x
        hidden = linear(layer_norm(x, weights, f"{block}.mlp.0"), weights, f"{block}.mlp.1")
        x = linear(hidden / (1 + np.exp(-hidden)), weights, f"{block}.mlp.4") + x
    log_pt, eta, phi = linear(x, weights, "output_projection").T
    return np.stack([np.exp(log_pt + 1.8), eta / 3, phi / 3])


def test_a_decoder_of_the_description_gives_the_expected_particles(folder: Path):
    expected = np.load(folder / "expected.npz")
    ends = np.cumsum(expected["ZJetsToNuNu_counts"])
    book, weights = (dict(np.load(folder / f"{n}.npz")) for n in ("codebook", "decoder_weights"))
    found = np.concatenate(
        [
            decode_as_described(codes, book, weights)
            for codes in np.split(expected["ZJetsToNuNu_codes"], ends)[:-1]
        ],
        axis=1,
    )
    for values, name in zip(found, ("pt", "etarel", "phirel"), strict=True):
        theirs = expected[f"ZJetsToNuNu_decoded_part_{name}"]
        np.testing.assert_allclose(values, theirs, rtol=1e-4, atol=1e-5)


def test_the_imported_tokenizer_decodes_the_imported_tokens_to_the_expected_particles(
    folder: Path, tmp_path: Path
):
    tokens, out = tmp_path / "tokens.parquet", tmp_path / "jets.parquet"
    import_file(folder, tmp_path / "tokenizer")
    options = Options(tokenizer=tmp_path / "tokenizer")
    import_file(folder / "ZJetsToNuNu_000_tokenized.parquet", tokens, options=options)
    export_file(tokens, out, "jetclass", options)
    expected, jets = np.load(folder / "expected.npz"), ak.from_parquet(out)
    px, py, pz, energy = (
        ak.flatten(jets[f"part_{name}"]).to_numpy().astype(np.float64)
        for name in ("px", "py", "pz", "energy")
    )
    pt = np.hypot(px, py)
    found = {"pt": pt, "etarel": np.arcsinh(pz / pt), "phirel": np.arctan2(py, px)}
    for name, values in found.items():
        theirs = expected[f"ZJetsToNuNu_decoded_part_{name}"]
        np.testing.assert_allclose(values, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(energy, np.sqrt(pt**2 + pz**2), rtol=1e-6)  # mass 0
    # pt and axis of the jets are not in the tokens: they are those of the sum.
    x, y = (ak.sum(jets[f"part_{name}"], axis=1) for name in ("px", "py"))
    np.testing.assert_allclose(jets.jet_pt, np.hypot(x, y), rtol=1e-5)
    assert ak.all(jets.jet_energy > jets.jet_pt)


def test_the_imported_tokenizer_is_an_artefact_that_says_what_it_is(folder: Path, tmp_path: Path):
    import_gabbro(folder, tmp_path / "a")
    tokenizer = Tokenizer.load(tmp_path / "a")
    assert (tokenizer.vocabulary_size, tokenizer.codebooks) == (8192, 1)
    assert tokenizer.features == ("log_pt", "delta_eta", "delta_phi")
    assert np.array_equal(
        tokenizer.codebook, np.load(folder / "codebook.npz")["codebook_effective"]
    )
    assert tokenizer.provenance["imported_from"] == "gabbro"
    import_gabbro(folder, tmp_path / "b")
    assert Tokenizer.load(tmp_path / "b").fingerprint == tokenizer.fingerprint
    with pytest.raises(DataError, match="imported with its decoder alone, and cannot encode"):
        tokenizer.encode(np.ones((1, 1, 4)), np.ones((1, 3)))


def edit(folder: Path, name: str, **changes: np.ndarray | None) -> None:
    arrays = {**np.load(folder / name), **changes}
    np.savez(folder / name, **{key: a for key, a in arrays.items() if a is not None})


def configured(folder: Path, *keys: str, value: object) -> None:
    content = yaml.safe_load((folder / "config.yaml").read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


MODEL = ("model", "model_kwargs")
NAN = np.full(3, np.nan)
FEATURES = ("data", "dataset_kwargs_common", "feature_dict")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.yaml").unlink(), r"config\.yaml: no such file"),
        (lambda f: (f / "config.yaml").write_text("a: ["), "not a YAML file"),
        (lambda f: (f / "config.yaml").write_text("- 1"), "no section"),
        (lambda f: (f / "codebook.npz").unlink(), r"codebook\.npz: no such file"),
        (lambda f: (f / "codebook.npz").write_bytes(b"PK"), "not a whole npz file"),
        (lambda f: edit(f, "codebook.npz", codebook_raw=None), "no array .*codebook_raw"),
        (
            lambda f: edit(f, "codebook.npz", affine_bias=np.ones(4, np.float32)),
            "they are of different tokenizers",
        ),
        (lambda f: edit(f, "decoder_weights.npz", **{"output_projection.bias": None}), "not a tok"),
        (
            lambda f: edit(f, "decoder_weights.npz", **{"output_projection.bias": np.zeros(4)}),
            "not a tokenizer of gabbro",
        ),
        (
            lambda f: edit(f, "decoder_weights.npz", **{"output_projection.bias": NAN}),
            "not finite",
        ),
        (lambda f: edit(f, "decoder_weights.npz", more=np.zeros(3)), "not a tokenizer of gabbro"),
        (
            lambda f: edit(f, "decoder_weights.npz", **{"latent_projection_out.weight": None}),
            "no matrix latent_projection_out",
        ),
        (lambda f: configured(f, *MODEL, "vq_kwargs", "num_codes", value=512), "says .*512"),
        (lambda f: configured(f, *MODEL, "num_blocks", value=3), "says .*3"),
        (lambda f: configured(f, *MODEL, "num_heads", value=7), "num_heads is 7"),
        (lambda f: configured(f, *FEATURES, value={"part_pt": {}}), "can be imported"),
        (lambda f: configured(f, *FEATURES, "part_etarel", "func", value="np.sinh"), "not known"),
        (lambda f: configured(f, *FEATURES, "part_pt", "multiply_by", value=0), "no transforms"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    folder: Path, tmp_path: Path, damage, message: str
):
    damage(folder)
    with pytest.raises(DataError, match=message):
        import_file(folder, tmp_path / "a", "gabbro")
    assert not (tmp_path / "a" / "tokenizer.json").exists()
