"""Training loops in plain PyTorch, without a framework.

digits: 64-32-10, batches of 32, Adam; as tutorials write it, or with ``fused``. A loss, a backward pass, a step.
mnist: Keras's convnet in batches of 128 with the settings that we found fastest on a CPU: whole batches indexed from
memory, channels_last, pooling before ReLU (the same numbers, on a quarter of the places), a fused optimizer.
python -m scripts.benchmarks.peers.loop digits|digits_fused|mnist DATA EPOCHS SEED [ROWS [DEVICE]]
Started by torchrun, it trains with DistributedDataParallel: each process takes its share of the rows.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def digits(fused: bool) -> tuple[nn.Module, torch.optim.Optimizer, int]:
    torch.set_num_threads(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return network, torch.optim.Adam(network.parameters(), fused=fused or None), 32


def mnist() -> tuple[nn.Module, torch.optim.Optimizer, int]:
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(1600, 10),
    ).to(memory_format=torch.channels_last)
    return network, torch.optim.Adam(network.parameters(), fused=True), 128


def operations(network: nn.Module, x: torch.Tensor) -> float:
    """Floating-point operations of a training step for one input: forward and backward, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    network.zero_grad()
    return counter.get_total_flops() / len(x)


def main(what: str, data: str, epochs: str, seed: str, rows: str = "60000", device: str = "cpu") -> None:
    torch.manual_seed(int(seed))
    network, optimizer, batch = mnist() if what == "mnist" else digits(what == "digits_fused")
    with np.load(f"{data}/{what.partition('_')[0]}.npz") as file:
        x, y = torch.from_numpy(file["x_train"][: int(rows)]), torch.from_numpy(file["y_train"][: int(rows)]).long()
    x = (x.float() / float(x.max())).reshape(len(x), 1, *x.shape[-2:])
    world = int(os.environ.get("WORLD_SIZE", 1))
    trained = network
    if world > 1:
        distributed.init_process_group("gloo")
        x, y = x[distributed.get_rank() :: world], y[distributed.get_rank() :: world]
        trained = DistributedDataParallel(network)
    held_out = round(0.9 * len(x))
    network, x, y = network.to(device), x.to(device), y.to(device)
    x, x_val, y, y_val = x[:held_out], x[held_out:], y[:held_out], y[held_out:]
    told = []
    for _ in range(int(epochs)):
        network.train()
        for rows_of_batch in torch.randperm(len(x)).to(device).split(batch):
            loss = F.cross_entropy(trained(x[rows_of_batch]), y[rows_of_batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            right = sum(
                int((network(a).argmax(1) == b).sum()) for a, b in zip(x_val.split(512), y_val.split(512), strict=True)
            )
        told.append({"time": time.time(), "val/acc": right / len(x_val)})
    steps = -(-len(x) // batch)
    measurements = {"epochs": told, "rows": len(x) * world, "steps": steps, "version": torch.__version__}
    if what == "mnist":
        measurements["operations"] = operations(network, x[:batch])
    if world > 1:
        first = distributed.get_rank() == 0
        distributed.destroy_process_group()
        if not first:
            return
    print(json.dumps(measurements))


if __name__ == "__main__":
    main(*sys.argv[1:])
