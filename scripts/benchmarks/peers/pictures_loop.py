"""Training loops in plain PyTorch, without a framework: a U-Net, a detector of centres, and a residual network.

The same networks, batches and losses as ours, with the settings that we found fastest on a CPU: whole batches indexed
from memory, channels_last, a fused optimizer; the maps of the boxes are made once, before training.
python -m scripts.benchmarks.peers.pictures_loop unet|detector|resnet DATA SAMPLES EPOCHS SEED
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BATCH, CLASSES, STRIDE = 32, 10, 4


def block(inputs: int, maps: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, maps, 3, stride, 1, bias=False), nn.BatchNorm2d(maps), nn.ReLU()]


class UNet(nn.Module):
    def __init__(self, channels: tuple[int, ...] = (16, 32, 64)):
        super().__init__()
        maps = (1, *channels)
        self.down = nn.ModuleList(
            nn.Sequential(*block(a, b), *block(b, b)) for a, b in zip(maps, channels, strict=False)
        )
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Sequential(*block(2 * b, b), *block(b, b)) for _, b in pairs)
        self.last = nn.Conv2d(channels[0], CLASSES + 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bridges = []
        for k, part in enumerate(self.down):
            x = part(F.max_pool2d(x, 2) if k else x)
            bridges.append(x)
        bridges.pop()
        for widen, part in zip(self.widen, self.up, strict=True):
            x = part(torch.cat([bridges.pop(), widen(x)], 1))
        return self.last(x)


def detector(channels: tuple[int, ...] = (16, 32, 64, 64)) -> nn.Module:
    maps = (1, *channels)
    layers = [part for k, maps_out in enumerate(channels) for part in block(maps[k], maps_out, 2 if k < 2 else 1)]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], CLASSES + 4, 1))


class Residual(nn.Module):
    def __init__(self, inputs: int, maps: int, stride: int):
        super().__init__()
        second = [nn.Conv2d(maps, maps, 3, 1, 1, bias=False), nn.BatchNorm2d(maps)]
        self.change = nn.Sequential(*block(inputs, maps, stride), *second)
        short = [nn.Conv2d(inputs, maps, 1, stride, bias=False), nn.BatchNorm2d(maps)]
        self.kept = nn.Sequential(*short) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.kept(x) + self.change(x))


def resnet(channels: tuple[int, ...] = (16, 32, 64)) -> nn.Module:
    maps = (channels[0], *channels)
    stages = [Residual(a, b, 1 if k == 0 else 2) for k, (a, b) in enumerate(zip(maps, channels, strict=False))]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], CLASSES)]
    return nn.Sequential(*block(1, channels[0]), *stages, *head)


NETWORKS = {"unet": UNet, "detector": detector, "resnet": resnet}
DATA = {"unet": "scene_masks", "detector": "scenes", "resnet": "mnist"}


def maps_of(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """The heat of each class, offsets and sizes, (N, K + 4, side, side), of boxes (N, B, 5)."""
    target = torch.zeros(len(boxes), CLASSES + 4, side, side)
    places = torch.arange(side)
    for n, rows in enumerate(boxes):
        for x1, y1, x2, y2, number in rows.tolist():
            if number < 0:
                continue
            x, y, w, h = (x1 + x2) / 2 / STRIDE, (y1 + y2) / 2 / STRIDE, (x2 - x1) / STRIDE, (y2 - y1) / STRIDE
            distance = (places[:, None] - int(y)) ** 2 + (places - int(x)) ** 2
            heat = torch.exp(-distance / (2 * w * h / 36))
            target[n, int(number)] = torch.maximum(target[n, int(number)], heat)
            target[n, CLASSES:, int(y), int(x)] = torch.tensor([x - int(x), y - int(y), w, h])
    return target


def detection_loss(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    logit, heat = z[:, :CLASSES] - 2.1972246, t[:, :CLASSES]
    p, centre = torch.sigmoid(logit), heat == 1
    at_centres = (1 - p) ** 2 * F.softplus(-logit)
    focal = torch.where(centre, at_centres, (1 - heat) ** 4 * p**2 * F.softplus(logit)).sum(1)
    error = (z[:, CLASSES:] - t[:, CLASSES:]).abs()
    return (focal + centre.any(1) * (error[:, :2].sum(1) + 0.1 * error[:, 2:].sum(1))).mean()


def main(what: str, data: str, samples: str, epochs: str, seed: str) -> None:
    torch.manual_seed(int(seed))
    with np.load(f"{data}/{DATA[what]}.npz") as file:
        x, y = (torch.from_numpy(file[name][: int(samples)]) for name in ("x_train", "y_train"))
    x = x.float() / 255
    network = NETWORKS[what]().to(memory_format=torch.channels_last)
    loss_of = detection_loss if what == "detector" else F.cross_entropy
    y = maps_of(y, x.shape[2] // STRIDE) if what == "detector" else y.long()
    x = x[:, None].contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    held_out = round(0.9 * len(x))
    x, x_val, y, y_val = x[:held_out], x[held_out:], y[:held_out], y[held_out:]
    told = []
    for _ in range(int(epochs)):
        network.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = loss_of(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            parts = zip(x_val.split(512), y_val.split(512), strict=True)
            total = sum(float(loss_of(network(a), b)) * len(a) for a, b in parts)
        told.append({"time": time.time(), "val/loss": total / len(x_val)})
    steps = -(-len(x) // BATCH)
    print(json.dumps({"epochs": told, "rows": len(x), "steps": steps, "version": torch.__version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
