"""Made-up samples for the benchmark: particle clouds whose classes differ in their spread."""

import numpy as np

from treasure.benchmark.particles import Particles
from treasure.benchmark.training import Sample
from treasure.config.benchmark import TaggerConfig

FAST = TaggerConfig(particle_layers=(8, 8), jet_layers=(8,), epochs=3, batch_size=32)


def cloud(jets: int = 400, seed: int = 0, separation: float = 1.0) -> Sample:
    """Jets of 1 to 12 particles with 3 features; signal is wider by exp(separation)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(jets) % 2
    counts = rng.integers(1, 13, jets)
    width = np.exp(separation * np.repeat(labels, counts))
    values = (rng.normal(size=(counts.sum(), 3)) * width[:, None]).astype(np.float32)
    splits = rng.choice(3, jets, p=[0.6, 0.1, 0.3])
    return Sample(Particles.from_counts(values, counts), labels, splits)


def as_tokens(sample: Sample, codes: int = 50) -> Sample:
    """The same jets with each particle replaced by the nearest of some random vectors."""
    rng = np.random.default_rng(5)
    codebook = rng.normal(size=(codes, 3)).astype(np.float32) * 2
    distance = ((sample.particles.values[:, None] - codebook) ** 2).sum(axis=2)
    ids = distance.argmin(axis=1).astype(np.int32)[:, None]
    particles = Particles(ids, sample.particles.offsets)
    return Sample(particles, sample.labels, sample.splits, codebook[None])
