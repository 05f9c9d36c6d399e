"""Many models of one architecture as one computation: the model's own loss, differentiated for all at once."""

from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from dlcourse.internals import softmax_decompositions, unsafe_view
from dlcourse.metrics import Metrics, from_sums
from dlcourse.models.base import BatchLoss
from dlcourse.tasks.base import Batch

ROWS = 8192  # of all models together, in one piece of an evaluation
#: On a CPU their kernels are several times slower over few classes than what they consist of.
SOFTMAX: Any = softmax_decompositions()


class Stacked:
    """T models: row t of ``w`` (T, P) holds the trainable parameters of model t, ``rest`` what else is its own.

    ``rest`` maps the names of frozen parameters and of buffers (as batch normalisation's) to (T, …). Of the models
    only the first is kept, whose ``forward`` and ``loss_of`` are computed for all.
    """

    def __init__(self, models: Sequence[Any]):
        self.model = models[0]
        named = dict(self.model.named_parameters())
        self.shapes = {name: p.shape for name, p in named.items() if p.requires_grad}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        states = [model.state_dict() for model in models]
        self.w = torch.stack([torch.cat([state[name].flatten() for name in self.shapes]) for state in states])
        others = [name for name in states[0] if name not in self.shapes and name not in self.model.of_the_data]
        self.rest = {name: torch.stack([state[name] for state in states]) for name in others}
        #: (P,): 1 where a weight decays; biases and normalisation (fewer than 2-D) are spared.
        self.decays = torch.cat([torch.full((shape.numel(),), float(len(shape) > 1)) for shape in self.shapes.values()])
        self.decays = self.decays.to(self.w)
        self.traced: dict[torch.Size, Callable[..., Any]] = {}

    def parameters(self, w: Tensor) -> dict[str, Tensor]:
        """The rows of w as the models' parameters, (T, *shape)."""
        parts = w.split(self.sizes, dim=1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in named}

    def step(self, batch: Batch) -> tuple[Tensor, BatchLoss]:
        """Gradients (T, P), and losses (T,), logits (T, B, outputs), targets of a batch for each model, x (T, B, …).

        The operations are recorded once for each size of batch, so that a step is these operations and no more.
        """
        x, y, index, *_ = batch
        if x.shape not in self.traced:
            self.model.train()

            def loss(p: dict[str, Tensor], rest: dict[str, Tensor], *parts: Tensor) -> tuple[Tensor, BatchLoss]:
                found = self._loss(p, rest, Batch(*parts))  # type: ignore[arg-type]
                return found.loss, found

            every = vmap(grad_and_value(loss, has_aux=True), randomness="different")
            # What is recorded has run once: batch normalisation's figures have moved, and chance.
            copies = {name: value.clone() for name, value in self.rest.items()}
            with torch.random.fork_rng():
                record = make_fx(every, SOFTMAX if x.device.type == "cpu" else None)
                self.traced[x.shape] = shortened(record(self.parameters(self.w), copies, x, y, index))
        with torch.no_grad():
            g, (_, found) = self.traced[x.shape](self.parameters(self.w), self.rest, x, y, index)
        return torch.cat([part.flatten(1) for part in g.values()], 1), found

    def evaluate(self, w: Tensor, rest: dict[str, Tensor], batch: Batch) -> BatchLoss:
        """Mean losses (T,), logits (T, N, outputs) and targets of the same rows for all models, in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            every = vmap(lambda p, rest: self._loss(p, rest, batch), chunk_size=max(1, ROWS // len(batch.x)))
            return every(self.parameters(w), rest)

    def _loss(self, p: dict[str, Tensor], rest: dict[str, Tensor], batch: Batch) -> BatchLoss:
        """The loss of one model on its batch."""
        inputs, _ = self.model.task.prepare_batch(batch)
        output = functional_call(self.model, {**p, **rest}, (inputs,))
        loss, divisor, output, target = self.model.loss_of(batch, output)
        return BatchLoss(loss, torch.as_tensor(divisor, device=loss.device), output, target)

    def keep(self, rows: Tensor) -> None:
        """Go on with these models only."""
        self.w = self.w[rows]
        self.rest = {name: value[rows] for name, value in self.rest.items()}
        self.traced.clear()

    def state_dict(self, w: Tensor, rest: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of one model, (P,) and its rest, by the names of its own."""
        parts = w.split(self.sizes)
        own = {name: part.view(shape).clone() for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return {**self.model.state_dict(), **own, **{name: value.clone() for name, value in rest.items()}}


def shortened(recorded: GraphModule) -> GraphModule:
    """Recorded operations by the shortest way to call them, and without those that hand on what they are given."""
    reshaping = (torch.ops.aten.view.default, torch.ops.aten.expand.default, unsafe_view())
    for node in recorded.graph.nodes:
        if node.target in reshaping:
            given, made = (
                n.meta["tensor_meta"].shape if "tensor_meta" in n.meta else None for n in (node.args[0], node)
            )
            if given is not None and given == made:
                node.replace_all_uses_with(node.args[0])
                recorded.graph.erase_node(node)
                continue
        if packet := getattr(node.target, "overloadpacket", None):  # a call by its record costs several times as much
            name = packet.__name__
            for function in (getattr(torch, name, None), getattr(Tensor, name, None)):
                if isinstance(function, BuiltinFunctionType | MethodDescriptorType):
                    node.target = function
                    break
    recorded.recompile()
    return recorded


def metrics_of_all(model: Any, stage: str, batches: Sequence[BatchLoss]) -> list[dict[str, float]]:
    """The metrics of each model from batches of all: losses and divisors (T,), outputs and targets (T, B, …)."""
    losses = torch.stack([batch.loss for batch in batches]).double().cpu()
    divisors = torch.stack([torch.as_tensor(batch.divisor) for batch in batches]).double().cpu()
    total = divisors.sum(0)
    means = (losses * (divisors / total)).sum(0)
    outputs, targets = (torch.cat(parts, 1) for parts in zip(*((b.output, b.target) for b in batches), strict=True))

    def sums(loss: Tensor, divisor: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        metrics = Metrics(model.task, model.output)
        metrics.update(loss, divisor, output, target)
        return metrics.total()

    found = from_sums(model.task, vmap(sums)(means, total, outputs, targets))
    columns = {name: values.tolist() for name, values in found.items()}
    return [{f"{stage}/{name}": values[k] for name, values in columns.items()} for k in range(len(means))]
