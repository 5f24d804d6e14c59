"""The commands of the how-to on exchange run, one after the other."""

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.jet_files import in_process
from tests.tokenizer.toys import write_table
from treasure.config.tokenizer import TokenizerConfig
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer
from treasure.tokens.table import read_tokens
from treasure.tokens.tokenize import tokenize_shard

HOME = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def commands(markdown: Path) -> list[list[str]]:
    text = markdown.read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line.split() for block in blocks for line in block.splitlines() if line]


def test_every_command_of_the_how_to_runs(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path / "ttbar.h5", 400, 5, label=1)
    config = TokenizerConfig.model_validate(
        {
            "model": {"width": 8, "decoder_context": 0, "encoder_context": 0},
            "quantizer": {"codes": 8192, "dimension": 3, "kmeans_iterations": 1},
            "training": {"epochs": 0},
            "check": {"pt_tolerance": 0.9, "mass_tolerance": 0.9},
        }
    )
    folder = tmp_path / "tokenizer"
    train_tokenizer({"ttbar": [table]}, config, seed=1, directory=folder, device="cpu")
    tokens = tmp_path / "ttbar_tokenized.parquet"
    tokenizer = Tokenizer.load(folder)
    tokenize_shard(table, tokenizer, tokens, dataset_name="ttbar", source_checksum="0" * 64)
    shutil.copytree(shared / "reference/dialects/gabbro", tmp_path / "gabbro")
    lines = commands(HOME / "docs/howto/exchange.md")
    assert len(lines) >= 14
    for program, *arguments in lines:
        assert program == "treasure"
        run = in_process(*arguments)
        assert run.exit_code == 0, (arguments, run.output, run.exception)
    for name in ("back", "from_heptokens", "from_npz"):
        found = read_tokens(tmp_path / f"{name}.parquet")["tokens"]
        assert found.to_pylist() == read_tokens(tokens)["tokens"].to_pylist()
