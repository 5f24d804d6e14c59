"""How much faster is a training step of the NormFormer without work on padding?

The networks of OmniJet-alpha (arXiv:2403.05618), forward, backward and AdamW, on the same batches,
in one run: with every jet padded to 128 slots, as published, and on particles alone. The vector
quantizer between them, which is the same for both, is left out (benchmarks/quantizer.py measures
it).

Prints microseconds a step per real particle, jets and particles a second, the share of the
machine's peak that arithmetic on real particles is (MFU), their ratio, and how long the batches
take to load::

    python benchmarks/training_step.py --threads 2
    python benchmarks/training_step.py --device cuda --bf16 --batch-jets 1024 --jets JETS.h5
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.config.tokenizer import FeatureConfig, ModelConfig
from treasure.skim.memory import keep_freed_memory
from treasure.tokenizer.batches import Batch, batches
from treasure.tokenizer.features import Kinematic
from treasure.tokenizer.jetdata import read_jets
from treasure.tokenizer.normformer import NormFormer

FEATURES, DIMENSION = 3, 4


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the numbers."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    if options.keep_memory:
        keep_freed_memory()
    device = torch.device(options.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else _nothing
    loaded, loading = load(options, device, wait)
    particles = statistics.fmean(len(batch.features) for batch in loaded)
    peak = options.peak_tflops * 1e12 or measured_peak(device, options.bf16, wait)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{name}, {options.threads} threads, {'bf16' if options.bf16 else 'float32'}, peak"
        f" {peak / 1e12:.3g} Tflop/s; {options.batch_jets} jets a step,"
        f" {particles / options.batch_jets:.1f} particles a jet"
    )
    training = {
        f"padded to {options.padded_to}": Training(options, device, options.padded_to),
        "packed": Training(options, device, 0),
    }
    seconds: dict[str, list[float]] = {title: [] for title in training}
    for number, batch in enumerate([*loaded[:1], *loaded]):
        for title, each in training.items():  # in turn, so that both see the same machine
            wait()
            start = time.perf_counter()
            each.step(batch)
            wait()
            if number:  # the first warms up
                seconds[title].append((time.perf_counter() - start) / len(batch.features))
    numbers: dict[str, float] = {}
    per_particle = statistics.fmean(flops(options, batch) for batch in loaded) / particles
    for title, times in seconds.items():
        each_second = 1 / statistics.median(times)
        numbers[title] = 1e6 / each_second
        print(
            f"{title:14}{1e6 / each_second:9.3f} us a particle"
            f"{each_second * options.batch_jets / particles:11,.0f} jets/s"
            f"{each_second:13,.0f} particles/s{100 * each_second * per_particle / peak:7.1f} % MFU"
        )
    slow, fast = numbers.values()
    numbers["ratio"] = slow / fast
    numbers["loading"] = 1e6 * loading / fast
    print(f"ratio         {numbers['ratio']:9.1f}")
    print(f"loading       {100 * numbers['loading']:9.2f} % of a packed step")
    return numbers


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch-jets", type=int, default=256)
    parser.add_argument("--jets", type=Path, nargs="+", help="jet tables; else made-up jets")
    parser.add_argument("--padded-to", type=int, default=128)
    parser.add_argument("--width", type=int, default=128, help="of model and MLP")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="else that of a matmul")
    parser.add_argument(
        "--keep-memory", action="store_true", help="freed memory stays with the process"
    )
    return parser.parse_args(arguments)


def _nothing() -> None:
    pass


# Jets --------------------------------------------------------------------------------------------


def load(
    options: argparse.Namespace, device: torch.device, wait: Callable[[], None]
) -> tuple[list[Batch], float]:
    """Batches on the device, and seconds per particle that it took to make them."""
    features, weight, counts = table(options.jets) if options.jets else made_up(options)
    order = np.random.default_rng(1).permutation(len(counts))
    wanted = options.steps * options.batch_jets
    order = np.resize(order, wanted)
    start = time.perf_counter()
    loaded = list(batches(features, weight, counts, options.batch_jets, device, order))
    wait()
    seconds = time.perf_counter() - start
    return loaded, seconds / sum(len(batch.features) for batch in loaded)


Packed = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def made_up(options: argparse.Namespace) -> Packed:
    """Standard normal features of jets about as large as those of Aspen Open Jets: a gamma
    distribution of mean 48 and standard deviation 20, 1 to 150 particles.
    """
    rng = np.random.default_rng(0)
    jets = options.steps * options.batch_jets
    counts = np.clip(np.rint(rng.gamma(5.76, 48 / 5.76, jets)), 1, 150).astype(np.int64)
    features = rng.standard_normal((int(counts.sum()), FEATURES), dtype=np.float32)
    return features, np.ones(len(features), dtype=np.float32), counts


def table(paths: Sequence[Path]) -> Packed:
    """Of a jet table's training jets."""
    jets = read_jets({"jets": paths}, "train", 100_000)
    kinematic = Kinematic(FeatureConfig())
    raw, _ = kinematic.clipped(jets.particles)
    kinematic.fit(raw)
    features = kinematic.standardise(raw).astype(np.float32)
    return features, np.ones(len(features), dtype=np.float32), jets.particles.counts


# Steps -------------------------------------------------------------------------------------------


class Training:
    """The networks and their optimizer."""

    def __init__(self, options: argparse.Namespace, device: torch.device, padded_to: int) -> None:
        config = ModelConfig(
            kind="normformer",
            width=options.width,
            mlp_width=options.width,
            blocks=options.blocks,
            dropout=options.dropout,
            padded_to=padded_to,
        )
        self.model = NormFormer(config, FEATURES, DIMENSION)
        self.model.initialise(torch.Generator().manual_seed(0))
        self.model.to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, foreach=False)
        self.precision: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if options.bf16:
            self.precision = torch.autocast(device.type, torch.bfloat16)

    def step(self, batch: Batch) -> Tensor:
        """Forward, backward, update."""
        with self.precision:
            latent = self.model.encode(batch.features, batch.owner, batch.jets)
            decoded = self.model.decode(latent.float(), batch.owner, batch.jets)
            loss = (decoded.float() - batch.features).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def flops(options: argparse.Namespace, batch: Batch) -> float:
    """Of matrix products on real particles, forward and backward (twice the forward)."""
    width, particles = options.width, len(batch.features)
    counts = torch.bincount(batch.owner).double()
    block = particles * 2 * (4 + 2) * width**2 + 4 * width * float(counts.square().sum())
    ends = particles * 2 * width * (FEATURES + DIMENSION)
    return 3 * 2 * (options.blocks * block + ends)


def measured_peak(device: torch.device, bf16: bool, wait: Callable[[], None]) -> float:
    """Flop/s of a matrix product: the best of ten."""
    size = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if bf16 else torch.float32
    a = torch.randn(size, size, device=device).to(kind)
    times = []
    for _ in range(11):
        wait()
        start = time.perf_counter()
        a @ a
        wait()
        times.append(time.perf_counter() - start)
    return float(2 * size**3 / min(times[1:]))


if __name__ == "__main__":
    main()
