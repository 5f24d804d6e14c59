"""How fast does `treasure.TokenDataset` give batches, and how much faster than Python lists?

Each repetition opens the files anew and goes through all jets, on one core, from a warm disk:
reading the tokens into Python lists, without a check, and epochs of batches of several kinds, with
labels and jet features, every page checked. Repetitions take turns, so that all of them see the
same machine; medians of CPU seconds are compared, which other work on the machine disturbs least.
The last line is an epoch whose row groups are in memory from the one before::

    python benchmarks/loader.py                     # made-up jets
    python benchmarks/loader.py --tokens RELEASE --split train
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from treasure import TokenDataset
from treasure.tokens.table import TokenMetadata, TokenWriter

EPOCHS = {
    "packed, in order": {"layout": "packed"},
    "packed, shuffled": {"layout": "packed", "shuffle": True},
    "padded, in order": {},
    "padded, shuffled": {"shuffle": True},
    "padded, shuffled, bucketed": {"shuffle": True, "bucket": True},
}
LISTS = "Python lists"


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the numbers."""
    options = parsed(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        place = options.tokens or made_up(Path(folder) / "made_up.parquet", options.jets)
        return measure(place, options)


def measure(place: str | Path, options: argparse.Namespace) -> dict[str, float]:
    """Jets a second, by what was done."""

    def opened() -> TokenDataset:
        return TokenDataset(place, split=options.split)

    def epoch(**how: object) -> int:
        return went_through(opened().iterate(options.batch_jets, **how))

    dataset = opened()
    paths, jets = dataset.row_groups.paths, len(dataset)
    actions: dict[str, Callable[[], int]] = {
        LISTS: lambda: len(lists(paths)),
        "lists, then padded by torch": lambda: padded_lists(paths, options.batch_jets),
    }
    for name, how in EPOCHS.items():
        actions[name] = lambda how=how: epoch(**how)
    in_memory = TokenDataset(place, split=options.split, memory=1 << 33)
    actions["the same, from memory"] = lambda: went_through(
        in_memory.iterate(options.batch_jets, shuffle=True, bucket=True)
    )
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for repetition in range(options.repeats + 1):
        for name, action in actions.items():
            start = time.process_time()
            found = action()
            if repetition:  # the first warms up
                seconds[name].append((time.process_time() - start) / found)
    numbers = {name: 1 / statistics.median(each) for name, each in seconds.items()}
    mean = float(dataset[: min(jets, 1000)]["mask"].sum(1).float().mean())
    print(f"{jets:,} jets of {mean:.1f} tokens, {options.batch_jets} a batch, one core")
    for name, rate in numbers.items():
        print(f"{name:28}{rate:12,.0f} jets/s{rate / numbers[LISTS]:8.1f} x")
    return numbers


def lists(paths: Iterable[Path]) -> list[list[int]]:
    """Read the column of tokens into Python lists."""
    found: list[list[int]] = []
    for path in paths:
        found += pq.read_table(path, columns=["tokens"])["tokens"].to_pylist()
    return found


def padded_lists(paths: Iterable[Path], size: int) -> int:
    """What the lists are read for: batches in order, with padding."""
    jets = lists(paths)
    for first in range(0, len(jets), size):
        batch = [torch.tensor(jet) for jet in jets[first : first + size]]
        torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=8192)
    return len(jets)


def went_through(stream: Iterable[dict[str, torch.Tensor]]) -> int:
    return sum(len(batch["label"]) for batch in stream)


def made_up(path: Path, jets: int) -> Path:
    """A token file of jets about as large as those of Aspen Open Jets (gamma distribution of mean
    48 and standard deviation 20, 1 to 150 particles), some ids more frequent than others.
    """
    rng = np.random.default_rng(0)
    counts = np.clip(np.rint(rng.gamma(5.76, 48 / 5.76, jets)), 1, 150).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    frequency = 1 / np.arange(1, 8193) ** 0.3
    ids = rng.choice(8192, offsets[-1], p=frequency / frequency.sum()).astype(np.int32)
    features = {
        name: rng.normal(size=jets).astype(np.float32)
        for name in ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")
    }
    metadata = TokenMetadata(
        dataset="made_up",
        tokenizer_fingerprint="0" * 64,
        vocabulary={"size": 8192, "codebooks": 1, "specials": {}},
        features=[],
        source_file="",
        source_checksum="",
    )
    numbers = np.arange(jets)
    with TokenWriter(path, metadata) as writer:
        writer.write(
            pa.table(
                {
                    "run": numbers * 0,
                    "luminosityBlock": numbers // 100,
                    "event": numbers,
                    "jet_index": (numbers * 0).astype(np.int32),
                    "label": (numbers % 2).astype(np.int32),
                    "split": pa.array(["train"] * jets),
                    **features,
                    "n_constituents": counts,
                    "tokens": pa.ListArray.from_arrays(offsets, ids),
                }
            )
        )
    return path


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", help="what TokenDataset takes; else made-up jets")
    parser.add_argument("--split")
    parser.add_argument("--jets", type=int, default=200_000, help="how many are made up")
    parser.add_argument("--batch-jets", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
