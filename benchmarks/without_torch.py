"""How fast is a tokenizer without torch, with numpy and onnxruntime alone?

Encodes and decodes the same jets with an artefact's ``portable.py`` and with torch, in turn, on one
thread each, and checks that tokens are the same. Prints microseconds of CPU time a particle, and
torch over portable, for batches of some sizes::

    OPENBLAS_NUM_THREADS=1 python benchmarks/without_torch.py TOKENIZER JETS.h5
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from treasure.tokenizer import portable
from treasure.tokenizer.artefact import Tokenizer


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the ratios, torch over portable."""
    options = parsed(arguments)
    torch.set_num_threads(1)
    with_torch = Tokenizer.load(options.tokenizer)
    alone = portable.Tokenizer(options.tokenizer, threads=1)
    with h5py.File(options.jets) as file:
        candidates = file["PFCands"][: options.number]
        kinematics = file["jet_kinematics"][: options.number]
    tokens = with_torch.encode(candidates, kinematics)
    ids, counts = alone.encode(candidates, kinematics)
    differ = int((np.asarray(ak.flatten(tokens)) != ids).sum())
    print(f"{len(counts)} jets, {len(ids)} particles; {differ} tokens differ")
    ends = np.concatenate([[0], np.cumsum(counts)])
    ratios: dict[str, float] = {}
    for batch in options.batches:
        jets = min(len(counts), options.calls * batch)
        parts = [slice(start, min(start + batch, jets)) for start in range(0, jets, batch)]
        packed = [slice(ends[part.start], ends[part.stop]) for part in parts]
        for name, programs in {
            "encode": (
                [partial(with_torch.encode, candidates[p], kinematics[p]) for p in parts],
                [partial(alone.encode, candidates[p], kinematics[p]) for p in parts],
            ),
            "decode": (
                [partial(with_torch.decode, tokens[p], kinematics[p]) for p in parts],
                [
                    partial(alone.decode, ids[rows], counts[p], kinematics[p, 1:3])
                    for p, rows in zip(parts, packed, strict=True)
                ],
            ),
        }.items():
            torch_time, own_time = measured(programs, options.rounds) / ends[jets] * 1e6
            ratios[f"{name}_{batch}"] = torch_time / own_time
            print(
                f"{name} {batch:5} jets at once: torch {torch_time:8.3f} us a particle, portable"
                f" {own_time:8.3f}, ratio {torch_time / own_time:6.2f}"
            )
    return ratios


def measured(programs: Sequence[Sequence[Callable[[], Any]]], rounds: int) -> NDArray[np.float64]:
    """Median seconds of all calls of each program; in turn, so that they see the same machine."""
    seconds: list[list[float]] = [[] for _ in programs]
    for number in range(rounds + 1):
        for calls, own in zip(programs, seconds, strict=True):
            start = time.process_time()
            for call in calls:
                call()
            if number:  # the first warms up
                own.append(time.process_time() - start)
    return np.array([statistics.median(own) for own in seconds])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tokenizer", type=Path, help="folder of the artefact")
    parser.add_argument("jets", type=Path, help="jet table (HDF5)")
    parser.add_argument("--number", type=int, default=2000, help="jets that are read")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 100, 2000])
    parser.add_argument("--calls", type=int, default=50, help="batches in a round, at most")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
