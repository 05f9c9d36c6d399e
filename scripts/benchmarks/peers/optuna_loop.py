"""Optuna's grid over learning rates and seeds, around a training loop in plain PyTorch, in one process.

digits, 64-32-10, batches of 32, Adam as tutorials write it or fused, one thread; validation after each epoch, the best
weights tested, and a CSV file of measurements a trial.
python -m scripts.benchmarks.peers.optuna_loop DATA EPOCHS SEEDS RATE,RATE,… 'loop'|'fused loop'
"""

import copy
import csv
import json
import sys
from typing import Any

import numpy as np
import optuna
import torch
import torch.nn.functional as F
from torch import nn

Rows = tuple[torch.Tensor, torch.Tensor]


def fit(lr: float, seed: int, epochs: int, sets: list[Rows], log: str, fused: bool) -> tuple[float, float]:
    """The lowest validation loss, and the test accuracy of its weights."""
    train, val, test = sets
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=fused or None)
    best, weights, step = float("inf"), copy.deepcopy(network.state_dict()), 0
    with open(log, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "epoch", "train/loss", "val/loss", "val/acc"])
        for epoch in range(epochs):
            network.train()
            for rows in torch.randperm(len(train[0])).split(32):
                loss = F.cross_entropy(network(train[0][rows]), train[1][rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                if step % 10 == 0:
                    writer.writerow([step, epoch, loss.item(), "", ""])
            network.eval()
            with torch.no_grad():
                z = network(val[0])
                val_loss, acc = F.cross_entropy(z, val[1]).item(), (z.argmax(1) == val[1]).float().mean().item()
            writer.writerow([step, epoch, "", val_loss, acc])
            if val_loss < best:
                best, weights = val_loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    with torch.no_grad():
        return best, (network(test[0]).argmax(1) == test[1]).float().mean().item()


def main(data: str, epochs: str, seeds: str, rates: str, how: str) -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with np.load(f"{data}/digits_split.npz") as file:
        mean, std = file["x_train"].mean(), file["x_train"].std()
        sets = [
            (torch.from_numpy((file[f"x_{stage}"] - mean) / std).float(), torch.from_numpy(file[f"y_{stage}"]).long())
            for stage in ("train", "val", "test")
        ]
    accuracies = []

    def objective(trial: optuna.Trial) -> float:
        lr, seed = trial.suggest_float("lr", 1e-5, 1), trial.suggest_int("seed", 0, 1000)
        loss, acc = fit(lr, seed, int(epochs), sets, f"{trial.number:04d}.csv", how == "fused loop")
        accuracies.append(acc)
        return loss

    grid: dict[str, Any] = {"lr": [float(rate) for rate in rates.split(",")], "seed": list(range(int(seeds)))}
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid, seed=0))
    study.optimize(objective)
    print(json.dumps({"test/acc": accuracies, "trials": len(study.trials), "version": optuna.__version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
