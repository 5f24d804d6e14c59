"""How much faster is our vector quantizer in training than vector-quantize-pytorch, on a CPU?

Both do the same steps on the same vectors (8,192 codes, four dimensions, 256 jets of 50 particles,
moving average 0.99, straight through), in one run and on one thread. Prints milliseconds a step,
and their ratio.
"""

import time
from collections.abc import Callable

import torch
from vector_quantize_pytorch import VectorQuantize

from treasure.config.tokenizer import QuantizerConfig
from treasure.tokenizer.quantizer import VectorQuantizer

PARTICLES, CODES, DIMENSION, STEPS = 256 * 50, 8192, 4, 5


def milliseconds(
    step: Callable[[torch.Tensor], torch.Tensor], batches: list[torch.Tensor]
) -> float:
    """Milliseconds of a step with its backward pass; the best of all, without the first."""
    times = []
    for batch in batches:
        start = time.perf_counter()
        step(batch.clone().requires_grad_()).backward()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[1:])


def main() -> None:
    """Run both and print."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(PARTICLES, DIMENSION, generator=generator) for _ in range(STEPS + 1)]
    weight = torch.ones(PARTICLES)
    ours = VectorQuantizer(QuantizerConfig(codes=CODES, dimension=DIMENSION, kmeans_iterations=1))
    ours.start(torch.cat(batches), torch.ones(PARTICLES * len(batches)), generator)
    library = VectorQuantize(
        DIMENSION, CODES, decay=0.99, rotation_trick=False, threshold_ema_dead_code=2
    )
    library._codebook.embed.data.copy_(ours.vectors_[None])

    def own(x: torch.Tensor) -> torch.Tensor:
        quantized = ours(x, weight, generator)
        return quantized.latent.sum() + quantized.loss

    def theirs(x: torch.Tensor) -> torch.Tensor:
        latent, _, loss = library(x[None])
        return latent.sum() + loss.sum()

    fast, slow = milliseconds(own, batches), milliseconds(theirs, batches)
    print(f"treasure                {fast:8.1f} ms a step")
    print(f"vector-quantize-pytorch {slow:8.1f} ms a step")
    print(f"ratio                   {slow / fast:8.1f}")


if __name__ == "__main__":
    main()
