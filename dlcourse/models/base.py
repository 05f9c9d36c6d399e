"""The base class of all models: a network, a loss, an optimizer, and the training step."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlcourse.chosen_metrics import ChosenMetrics
from dlcourse.errors import Refused
from dlcourse.internals import CURRENT_HOOK, forget_train_loader, spare_broadcast
from dlcourse.losses import Loss, weigh_processes
from dlcourse.metrics import Metrics, detached
from dlcourse.models.dry_run import freeze_unreached
from dlcourse.models.memory_format import to_channels_last
from dlcourse.models.standardised import Standardised
from dlcourse.schedulers import depends_on_total
from dlcourse.tasks.base import Batch, Predictions, Task, logits
from dlcourse.tasks.predictions import eval_mode


class BatchLoss(NamedTuple):
    """The loss of a batch, the divisor of its mean, output and target; ``auxiliary``: what the model adds itself."""

    loss: Tensor
    divisor: int | Tensor
    output: Any
    target: Any
    auxiliary: dict[str, Tensor]


class Model(Standardised):
    """A network that maps inputs x (N, *shape) to logits z (N, *task.places, outputs), and what it takes to train it.

    Its output is z, or a NamedTuple whose first field is z. A subclass builds ``network`` and passes all other
    arguments on; a loss of its own goes into ``auxiliary_losses``. Inputs are raw: what the training set says of them,
    ``standardised``, is part of the model (buffers), so exported files need no preparation. What is learned from a row
    is the ``task``'s. The loss of a batch, ``loss_of(batch)``, depends on parameters and batch alone.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        task: Task,
        shape: Sequence[int],
        outputs: int,
        loss: Loss,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        init: Callable[[nn.Module], None],
        monitor: str = "val/loss",
        compile: bool = False,
        metrics: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if task.target_form not in loss.target_forms:
            forms = ", ".join(loss.target_forms)
            raise ValueError(f"{type(loss).__name__} accepts targets as {forms}, the task has {task.target_form}")
        self.network, self.loss, self.task = network, loss, task
        loss.expect(task.outputs)
        self.optimizer_factory, self.scheduler_factory = optimizer, scheduler
        self.monitor = monitor
        self.example_input_array = torch.zeros(2, *shape)
        self.stage_metrics = {stage: Metrics(task, self.output) for stage in ("train", "val", "test")}
        self.chosen_metrics = {
            s: ChosenMetrics(deepcopy(metrics or {}), task, self.predictions) for s in ("val", "test")
        }
        init(network)
        if len(shape) == 3:
            to_channels_last(network)
        self.register_moments(shape)
        # They are equal in all processes, so DistributedDataParallel need not broadcast them at every step.
        spare_broadcast(self, self.of_the_data)
        self.frozen = freeze_unreached(self, outputs)
        if compile:
            network.compile()

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets the running hook about forty times a step; it is neither a parameter nor a module.
        if name == CURRENT_HOOK:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Any:
        """Raw inputs x (N, *shape) to logits z (N, *task.places, outputs), or a NamedTuple with z as first field."""
        return self.network(self.standardised(x))

    def standardised(self, x: Tensor) -> Tensor:
        """(x − mean) / std of raw inputs; the mean is taken off in its own precision."""
        x = x.to(self.mean.dtype)
        x = x if self.fill is None else torch.where(x.isnan(), self.fill, x)
        return (x - self.mean).to(self.std.dtype) / self.std

    def load_pretrained(self) -> str | None:
        """Take weights that were trained elsewhere, if it names any, and say so in a line; once, at a run's start."""
        return None

    def loss_of(self, batch: Batch, output: Any = None) -> BatchLoss:
        """The loss of a batch; ``output``: the model's output, if it is computed already."""
        inputs, target = self.task.prepare_batch(batch)
        output = self.output_of(inputs, batch) if output is None else output
        loss, divisor = self.loss(*self.task.weighted_inputs(output, target, batch.weight))
        auxiliary = self.auxiliary_losses(output)
        for part in auxiliary.values():
            loss = loss + part
        return BatchLoss(loss, divisor, output, target, auxiliary)

    def output_of(self, inputs: Any, batch: Batch) -> Any:
        """The output for a batch's inputs; a model with noise of its own draws it for these samples."""
        return self(inputs)

    def auxiliary_losses(self, output: Any) -> dict[str, Tensor]:
        """Losses of the model itself, by name: each a mean over the batch, added to the loss and logged."""
        return {}

    def output(self, output: Any) -> Tensor:
        """Readable predictions (N, …, outputs): probabilities or thresholds of classes, values in their own units."""
        return self.task.postprocess(self.loss.output(logits(output)))

    def predictions(self, output: Any) -> Predictions:
        """The logits and readable predictions of an output."""
        return Predictions(logits(output), self.output(output), self.loss.probabilities)

    def _step(self, batch: Batch, batch_idx: int, stage: str) -> Tensor:
        loss, divisor, output, target, auxiliary = self.loss_of(batch)
        objective = weigh_processes(loss, divisor, auxiliary) if stage == "train" else loss
        if stage != "train" and self.task.has_own_answer:
            output = self.task.answer(self, self.task.prepare_batch(batch)[0])
        output, auxiliary = detached(output), {name: part.detach() for name, part in auxiliary.items()}
        self.stage_metrics[stage].update(loss.detach(), divisor, output, target, batch_idx, auxiliary)
        if stage in self.chosen_metrics:
            self.chosen_metrics[stage].update(output, target)
        return objective

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, batch_idx, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, batch_idx, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, batch_idx, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The logits of a batch; ``output`` makes them readable."""
        return self.task.answer(self, self.task.prepare_batch(batch)[0])

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")
        for config in self.trainer.lr_scheduler_configs:
            if config.reduce_on_plateau:
                config.scheduler.step(self.trainer.callback_metrics[self.monitor])  # type: ignore[arg-type]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Skip plateau, which stepped in ``on_train_epoch_end``: Lightning would step after the epoch's checkpoint."""
        if metric is None:
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums of the training metrics so far in this epoch, over all processes."""
        sums = self.stage_metrics["train"].total()
        reduce = self.trainer.strategy.reduce  # in place, so on copies
        checkpoint["train_sums"] = {k: reduce(v.clone(), reduce_op="sum") for k, v in sums.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.state.fn == "fit":
            mine = self.trainer.global_rank == 0
            sums = {k: (v if mine else v * 0).to(self.device) for k, v in checkpoint["train_sums"].items()}
            self.stage_metrics["train"].sums = sums

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def _log_epoch(self, stage: str) -> None:
        """Log the metrics of a whole pass for callbacks, and for the loggers at the current step."""
        metrics = self.stage_metrics[stage].compute(lambda x: self.trainer.strategy.reduce(x, reduce_op="sum"))
        if stage in self.chosen_metrics:
            metrics |= self.chosen_metrics[stage].compute(self.monitor.partition("/")[2])
        named = {f"{stage}/{name}": value for name, value in metrics.items()}
        self.log_dict(named, logger=False)
        row = {"epoch": self.current_epoch, **{name: float(value) for name, value in named.items()}}
        for logger in self.trainer.loggers:
            logger.log_metrics(row, step=self.global_step)

    def setup(self, stage: str) -> None:
        """Take the standardisation from the training set; a checkpoint loaded later brings its own."""
        if stage == "fit":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            precise = torch.float64 in (data.sets["train"].x.dtype, data.sets["train"].y.dtype)
            if precise and (precision := str(self.trainer.precision)).endswith("16-true"):
                needs = f"has columns with more digits than {precision} keeps"
                raise Refused(f"data={data.name} {needs}; set trainer.precision={precision.replace('true', 'mixed')}")
            self.standardise(data)
            for remark in self.remarks() if self.trainer.is_global_zero else ():
                print(remark, flush=True)
            if self.chosen_metrics["val"].metrics:
                inputs, target = self.task.prepare_batch(data.sets["val"].first(2))
                with eval_mode(self):
                    answer = self.task.answer(self, inputs)
                self.chosen_metrics["val"].check(answer, target)

    def build_optimizer(self, **values: Any) -> torch.optim.Optimizer:
        """The optimizer over named parameters, with ``values`` for some of its hyperparameters.

        Weight decay skips biases and normalisation (fewer than 2-D).
        """
        keywords = {**getattr(self.optimizer_factory, "keywords", {}), **values}
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        groups: list[Any] = named
        if keywords.get("weight_decay"):
            weights = [(name, p) for name, p in named if p.ndim > 1]
            others = [(name, p) for name, p in named if p.ndim < 2]
            groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
            groups = [group for group in groups if group["params"]]
        return self.optimizer_factory(groups, **values)

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer()
        # A schedule that takes the number of steps changes every step, the others every epoch.
        each_step = depends_on_total(self.scheduler_factory)
        horizon = {"total_steps": int(self.trainer.estimated_stepping_batches)} if each_step else {}
        if each_step:
            # Lightning set up the loader to count the steps; it must do so again to restore the loader's position.
            forget_train_loader(self.trainer)
        schedule = {
            "scheduler": self.scheduler_factory(optimizer, **horizon),
            "interval": "step" if each_step else "epoch",
            "monitor": self.monitor,
        }
        return {"optimizer": optimizer, "lr_scheduler": schedule}


for _hook in (Model.training_step, Model.validation_step, Model.test_step, Model.predict_step):
    # Lightning reads the signature at every step; this caches it.
    _hook.__signature__ = inspect.signature(_hook)  # type: ignore[attr-defined]
