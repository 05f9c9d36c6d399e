"""Training of trials that differ only in numbers, with stacked models."""

import math
import os
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.data.base import EVALUATION_BATCH
from dlcourse.data.loading import EpochSampler, Rows
from dlcourse.errors import DIVERGED, Diverged, Interrupted, Refused
from dlcourse.internals import stops_early
from dlcourse.models.base import BatchLoss
from dlcourse.runs.building import build_part, build_task
from dlcourse.runs.interrupt import handled_by
from dlcourse.sweeps.compatibility import LearningRates, device, step_and_hyperparameters
from dlcourse.sweeps.stacked import Stacked, metrics_of_all
from dlcourse.sweeps.vectorized_checkpoint import CHECKPOINT, restore, save
from dlcourse.sweeps.vectorized_trial import VectorizedTrial
from dlcourse.tasks.base import Batch

SMALL_STEP = 2**16  # parameters of all models together, below which several threads are slower than one


def take(rows: Tensor, numbers: Tensor) -> Tensor:
    """data[positions] for positions (T, B), with a kernel that copies whole rows."""
    return rows.index_select(0, numbers.flatten()).unflatten(0, numbers.shape)


class VectorizedTraining:
    """T trials in one process, with stacked weights and optimizer states; each trial has its own order of samples."""

    def __init__(self, trials: list[VectorizedTrial]):
        self.trials, self.path = trials, trials[0].path.parent / CHECKPOINT.format(trials[0].path.name)
        self.cfg = trials[0].composed.cfg
        self.monitor, self.lower_is_better = self.cfg.monitor, self.cfg.mode == "min"
        tree = trials[0].tree
        self.device = device(self.cfg.trainer.accelerator)
        dtype = torch.float64 if self.cfg.trainer.precision == "64-true" else torch.float32
        task = build_task(tree)
        self.data = build_part(tree, "data", task)
        self.data.setup()
        models = []
        for trial in trials:  # the same initial weights as in a run of its own
            pl.seed_everything(trial.tree["seed"], workers=True, verbose=False)
            model = build_part(trial.tree, "model", task)
            model.load_pretrained()
            model.to(self.device, dtype).standardise(self.data)
            models.append(model)
        for remark in models[0].remarks():
            print(remark, flush=True)
        self.stacked = Stacked(models)
        if "OMP_NUM_THREADS" not in os.environ and self.stacked.w.numel() < SMALL_STEP:
            torch.set_num_threads(1)
        self.sets = {
            name: Rows(*(self._floating(part, dtype) for part in rows.parts)) for name, rows in self.data.sets.items()
        }
        self.live = list(range(len(trials)))  # the trial of each row of the stack
        self.seeds = torch.tensor([trial.tree["data"]["seed"] for trial in trials], device=self.device)
        self.update, self.numbers = step_and_hyperparameters([trial.tree for trial in trials], self.device, dtype)
        self.state: dict[str, Any] = {}
        self.samplers = [
            EpochSampler(
                len(self.sets["train"]),
                self._batch_size(),
                seed=trial.tree["data"]["seed"],
                train=True,
                reshuffle=self.data.reshuffle,
            )
            for trial in trials
        ]
        steps, epochs = self.cfg.trainer.max_steps, self.cfg.trainer.max_epochs
        steps_per_epoch = len(self.samplers[0])
        bounds = [steps] * (steps > 0) + [epochs * steps_per_epoch] * (epochs is not None and epochs > 0)
        if not bounds:
            raise Refused("trainer.max_epochs and trainer.max_steps: one of them must limit the training")
        self.last_step = min(bounds)
        rates = [trial.tree["optimizer"]["lr"] for trial in trials]
        self.rates = LearningRates(self.stacked.model.scheduler_factory, rates, self.last_step)
        self.best_w = self.stacked.w.clone()
        self.best_rest = {name: value.clone() for name, value in self.stacked.rest.items()}
        self.losses: list[Tensor] = []  # (T,) for each step since losses were last logged
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.save_at = time.monotonic() + 1
        self.stop_signal = 0  # the signal to stop, or 0
        restore(self)

    def _floating(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(self.device, dtype if x.dtype == torch.float32 else x.dtype)

    def _batch_size(self) -> int:
        size = self.data.batch_size
        return len(self.sets["train"]) if size == "full" else int(size)

    def fit(self) -> None:
        def ask(signum: int, frame: FrameType | None) -> None:
            self.stop_signal = signum

        started = time.monotonic() - self.seconds
        with handled_by(ask):
            while self.live and self.step < self.last_step:
                self.train_epoch()
                self.seconds = time.monotonic() - started
                if time.monotonic() >= self.save_at:
                    save(self)
            save(self)

    def train_epoch(self) -> None:
        """One pass over the training set for every live trial, then validation; some trials end."""
        train = self.sets["train"]
        batch_losses: list[BatchLoss] = []
        numbers = {key: value for key, value in self.numbers.items() if key != "lr"}
        decay = numbers["weight_decay"]  # for each parameter; None is 0 for all
        numbers["weight_decay"] = decay * self.stacked.decays if isinstance(decay, Tensor) or decay else None
        lr = self.column(self.rates.lr)
        clip, log_every = self.cfg.trainer.gradient_clip_val, self.cfg.trainer.log_every_n_steps
        seeds = self.seeds[self.live]
        for rows in self.order():
            if self.stop_signal:
                raise Interrupted(self.stop_signal)
            x, y, index, *weights = (take(part, rows) for part in train.parts)
            weight = weights[0] if weights else None
            batch = Batch(x, y, index, weight, seeds, torch.full_like(seeds, self.epoch))
            g, found = self.stacked.step(batch)
            if clip is not None:
                g.mul_((clip / (g.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1))
            self.update(self.stacked.w, g, self.state, **numbers, lr=lr)
            self.step += 1
            if self.rates.each_step:
                self.rates.advance(epoch_ended=False)
                lr = self.column(self.rates.lr)
            batch_losses.append(found)
            self.losses.append(found.loss)
            if len(self.losses) >= log_every:
                self.write_losses()
            if self.step == self.last_step:
                break
        self.end_epoch(batch_losses)

    def order(self) -> Sequence[Tensor]:
        """The positions of the samples of each batch of this epoch, (T, B), in each trial's own order."""
        orders = []
        for row in self.live:
            self.samplers[row].set_epoch(self.epoch)
            orders.append(torch.cat(list(self.samplers[row])))
        return torch.stack(orders).to(self.device).split(self.samplers[0].sizes(), dim=1)

    def column(self, values: Tensor) -> Tensor:
        """One value for each live trial, (T, 1), to broadcast over its row."""
        return values.to(self.stacked.w)[self.live][:, None]

    def write_losses(self) -> None:
        """Log the mean loss of each trial, and end those that diverged."""
        self.end_diverged()
        means = torch.stack(self.losses).double().mean(0).tolist()
        self.losses.clear()
        for row, mean in zip(self.live, means, strict=True):
            if self.trials[row].status == "running":
                rate = float(self.rates.lr[row])
                self.trials[row].steps = self.step
                self.trials[row].log(self.epoch, {"train/loss_step": mean, "lr": rate})

    def end_diverged(self) -> None:
        """End trials with a NaN or infinite loss; the others are not affected."""
        if not self.losses:
            return
        finite = torch.stack(self.losses).isfinite().cpu()
        for column in (~finite.all(0)).nonzero().flatten().tolist():
            k = int((~finite[:, column]).nonzero()[0])
            value = float(self.losses[k][column])
            self.diverged(self.live[column], f"the training loss is {value}", self.step - len(self.losses) + 1 + k)

    def diverged(self, row: int, what: str, step: int) -> None:
        trial = self.trials[row]
        if trial.status == "running":
            where = f"at step {step} (epoch {self.epoch}, lr={float(self.rates.lr[row]):g})"
            trial.end("failed", DIVERGED, str(Diverged(f"diverged: {what} {where}", "Try a lower optimizer.lr", step)))

    def end_epoch(self, batch_losses: list[BatchLoss]) -> None:
        """Validate, log, remember the best weights, and drop the trials that have ended."""
        self.end_diverged()
        stacked = self.stacked
        val = self.metrics("val", stacked.w, stacked.rest, self.live)
        train = metrics_of_all(stacked.model, "train", batch_losses)
        for k, row in enumerate(self.live):
            trial = self.trials[row]
            if trial.status != "running":
                continue
            trial.steps, trial.epochs = self.step, self.epoch + 1
            trial.log(self.epoch, val[k])
            for key, value in val[k].items():
                if not math.isfinite(value):
                    self.diverged(row, f"{key} is {value}", self.step)
            if trial.status != "running":
                continue
            trial.log(self.epoch, train[k])
            metrics = {**train[k], **val[k]}
            if trial.pruning is not None and trial.pruning.should_prune(metrics[trial.pruning.metric], self.epoch):
                trial.end("pruned", 0, f"pruned after epoch {self.epoch + 1}")
                continue
            self.update_best(k, row, metrics)
            if trial.stopping is not None and stops_early(trial.stopping, metrics[trial.stopping.monitor]):
                trial.end("finished")
            if self.step == self.last_step:
                trial.end("finished")
        self.epoch += 1
        self.rates.advance(epoch_ended=True)
        running = [k for k, row in enumerate(self.live) if self.trials[row].status == "running"]
        if len(running) < len(self.live):
            self.keep_models(torch.tensor(running, dtype=torch.long))

    def update_best(self, k: int, row: int, metrics: dict[str, float]) -> None:
        """Remember the weights of the first epoch with the best monitored metric, as in a single run."""
        trial, monitor = self.trials[row], self.monitor
        score, old = metrics[monitor], trial.best.get(monitor)
        if old is None or (score < old if self.lower_is_better else score > old):
            best_metrics = {key: value for key, value in metrics.items() if key.startswith("val/") or key == monitor}
            trial.best = {"epoch": self.epoch, "step": self.step, **best_metrics}
            self.best_w[row] = self.stacked.w[k]
            for name, value in self.stacked.rest.items():
                self.best_rest[name][row] = value[k]

    def keep_models(self, rows: Tensor) -> None:
        """Keep only these rows of the stack."""

        def kept(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(kept(part) for part in value)
            return value[rows.to(value.device)] if isinstance(value, Tensor) else value

        self.stacked.keep_models(rows)
        self.live = [self.live[k] for k in rows.tolist()]
        self.state = {key: kept(value) for key, value in self.state.items()}
        self.numbers = {key: kept(value) for key, value in self.numbers.items()}
        self.losses = [kept(losses) for losses in self.losses]

    def metrics(self, stage: str, w: Tensor, rest: dict[str, Tensor], trials: Sequence[int]) -> list[dict[str, float]]:
        """The metrics of a data set for each row of w."""
        rows = self.sets[stage]
        numbers = torch.arange(len(rows)).split(EpochSampler(len(rows), EVALUATION_BATCH).sizes())
        parts = [self.stacked.evaluate(w, rest, rows[part], self.seeds[trials]) for part in numbers]
        return metrics_of_all(self.stacked.model, stage, parts)
