"""Processes of a real distributed training share the jets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tokens.toys import folder

HOME = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_no_process_waits_for_another_and_no_jet_is_lost(tmp_path: Path):
    # With batches of five, one rank would have a batch more than the others.
    folder(tmp_path / "tokens", [17, 14], row_group=6)
    script = Path(__file__).with_name("distributed_training.py")
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"),
            *(str(script), str(tmp_path / "tokens"), str(tmp_path)),
        ],
        check=True,
        timeout=900,
        cwd=HOME,
        env={**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"},
    )
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    for epoch in range(2):
        events = [jet for rank in ranks for batch in rank[epoch] for jet in batch]
        assert sorted(events) == list(range(31))
        assert {len(rank[epoch]) for rank in ranks} == {3}
    assert ranks[0][0] != ranks[0][1]
