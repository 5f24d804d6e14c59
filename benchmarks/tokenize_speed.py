"""How fast do jets become tokens, from HDF5 on disk to parquet on disk?

The plain way is what a notebook does with the transformer of OmniJet-alpha: the whole file in
memory, jets padded to 128 particles, batches of 512 through the network in float32, a matrix of
distances to the codes, tokens written by awkward; torch takes all cores. Beside it what
`TokenizeShards` does, for the same model and for the default tokenizer, all on the same jets in one
run, everything included. Prints jets a second, and ratios; also two threads against one, and how
much memory two lengths of a file take::

    python benchmarks/tokenize_speed.py JETS.h5 --omnijet ARTEFACT --default ARTEFACT
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import torch

from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.normformer import NormFormer, padded_layout
from treasure.tokens.tokenize import tokenize_shard

SLOTS, BATCH = 128, 512


def plain(jets: Path, tokenizer: Tokenizer, path: Path) -> dict[str, float]:
    """Tokens of a file as a notebook would make them; seconds of each part."""
    clock = [time.perf_counter()]
    with h5py.File(jets) as file:
        candidates, kinematics = file["PFCands"][:], file["jet_kinematics"][:]
    clock.append(time.perf_counter())
    px, py, pz, energy = np.moveaxis(candidates[:, :SLOTS, :4], 2, 0)
    mask = energy != 0
    pt = np.hypot(px, py)
    with np.errstate(divide="ignore", invalid="ignore"):
        features = np.stack(
            [
                np.log(pt),
                np.arcsinh(pz / pt) - kinematics[:, 1, None],
                (np.arctan2(py, px) - kinematics[:, 2, None] + np.pi) % (2 * np.pi) - np.pi,
            ],
            axis=2,
        )
    features[~mask] = 0
    low, high = tokenizer.feature_set.limits().T
    features = tokenizer.feature_set.standardise(np.clip(features, low, high)) * mask[:, :, None]
    inputs = torch.from_numpy(features.astype(np.float32))
    clock.append(time.perf_counter())
    model, codebook = tokenizer.model.eval(), torch.from_numpy(tokenizer.codebook)
    assert isinstance(model, NormFormer)
    ids, network = [], 0.0
    with torch.no_grad():
        for first in range(0, len(inputs), BATCH):
            start = time.perf_counter()
            real = torch.from_numpy(mask[first : first + BATCH])
            owner = real.nonzero()[:, 0]
            layout = padded_layout(owner, len(real), SLOTS)
            rows = inputs[first : first + BATCH].reshape(-1, inputs.shape[2])
            latent = model.encoder(rows, layout)
            network += time.perf_counter() - start
            distance = torch.cdist(latent, codebook)
            ids.append(distance.argmin(dim=1).reshape(-1, SLOTS).numpy())
    clock.append(time.perf_counter())
    tokens = ak.drop_none(ak.mask(ak.from_numpy(np.concatenate(ids)), mask))
    ak.to_parquet(ak.zip({"tokens": tokens}, depth_limit=1), str(path))
    clock.append(time.perf_counter())
    read, prepare, encode, write = np.diff(clock)
    return {
        "read": read, "prepare": prepare, "network": network, "codes": encode - network,
        "write": write, "all": clock[-1] - clock[0],
    }  # fmt: skip


def ours(jets: Path, tokenizer: Tokenizer, path: Path, threads: int) -> float:
    """Seconds that `TokenizeShards` takes."""
    start = time.perf_counter()
    tokenize_shard(
        jets, tokenizer, path, dataset_name="jets", source_checksum="0" * 64, threads=threads
    )
    return time.perf_counter() - start


def peak_memory(jets: Path, artefact: Path, threads: int) -> int:
    """Greatest resident size [bytes] of a process that tokenizes a file."""
    code = (
        "import sys; from pathlib import Path\n"
        "from benchmarks.tokenize_speed import ours, Tokenizer\n"
        "jets, artefact, path, threads = sys.argv[1:]\n"
        "ours(Path(jets), Tokenizer.load(artefact), Path(path), int(threads))\n"
        # not that of getrusage, which begins with the size of the process that started this one
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(jets), str(artefact), f"{folder}/tokens.parquet", str(threads)]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
        )
    return int(done.stdout.split()[-1]) * 1024


def repeated(jets: Path, path: Path, times: int) -> None:
    """The same jets several times, one file after the other."""
    with h5py.File(jets) as source, h5py.File(path, "w") as target:
        for name, data in source.items():
            copies = np.concatenate([data[:]] * times)
            target.create_dataset(name, data=copies, chunks=data.chunks, compression=1)
        target.attrs.update(source.attrs)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the ratios."""
    options = parsed(arguments)
    omnijet, default = Tokenizer.load(options.omnijet), Tokenizer.load(options.default)
    unchecked = {"pt_tolerance": 1e9, "mass_tolerance": 1e9}  # however little it was trained
    omnijet.config = omnijet.config.model_copy(
        update={"check": omnijet.config.check.model_copy(update=unchecked)}
    )
    with h5py.File(options.jets) as file:
        jets = len(file["PFCands"])
        particles = int(np.count_nonzero(file["PFCands"][:, :, 3]))
    print(f"{jets} jets of {particles / jets:.1f} particles; {options.threads} threads")
    seconds: dict[str, list[float]] = {}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.parquet"
        longer = Path(folder) / "longer.h5"
        repeated(options.jets, longer, 4)
        for threads, tokenizer in ((1, default), (1, omnijet)):  # compilers, caches
            ours(options.jets, tokenizer, path, threads)
        for _ in range(options.repetitions):
            torch.set_num_threads(options.threads)
            parts = plain(options.jets, omnijet, path)
            print("plain way:", ", ".join(f"{k} {v:.2f} s" for k, v in parts.items()))
            torch.set_num_threads(1)
            seconds.setdefault("plain way", []).append(parts["all"])
            for title, tokenizer in (("the same model", omnijet), ("default", default)):
                seconds.setdefault(title, []).append(
                    ours(options.jets, tokenizer, path, options.threads)
                )
        for title, tokenizer in (("the same model", omnijet), ("default", default)):
            one, many = (ours(longer, tokenizer, path, n) for n in (1, options.threads))
            found[f"{title}, threads"] = one / many
            print(f"{title}, four times the jets: {options.threads} threads {one / many:.2f} x one")
        if options.memory:
            sizes = [
                peak_memory(file, options.default, options.threads)
                for file in (options.jets, longer)
            ]
            print(f"memory: {sizes[0] / 1e6:.0f} MB; of four times the jets {sizes[1] / 1e6:.0f}")
    for name, values in seconds.items():
        best = min(values)
        found[name] = min(seconds["plain way"]) / best
        print(f"{name:28s} {jets / best:8.0f} jets/s  {found[name]:6.2f} x the plain way")
    return found


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("jets", type=Path, help="a jet table")
    parser.add_argument("--omnijet", type=Path, required=True, help="artefact of `omnijet`")
    parser.add_argument("--default", type=Path, required=True, help="artefact of the default")
    parser.add_argument("--threads", type=int, default=2, help="of both ways; default: 2")
    parser.add_argument("--repetitions", type=int, default=2, help="the fastest counts; default: 2")
    parser.add_argument("--memory", action="store_true", help="measure memory, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
