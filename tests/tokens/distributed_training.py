"""A training of several processes; run by `test_distributed` with torchrun."""

import json
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from treasure import TokenDataset


def main(tokens: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    dataset = TokenDataset(tokens, columns=["event"])
    stream = dataset.iterate(batch_size=5, shuffle=True, bucket=True)
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    model = DistributedDataParallel(torch.nn.Embedding(dataset.vocabulary_size, 2))
    seen = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        events = []
        for batch in loader:
            model(batch["tokens"]).square().mean().backward()  # waits for all processes
            events.append(batch["event"].tolist())
        seen.append(events)
    (out / f"{torch.distributed.get_rank()}.json").write_text(json.dumps(seen))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
