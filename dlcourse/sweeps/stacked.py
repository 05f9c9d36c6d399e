"""Many models of one architecture as one computation: the gradients of all losses at once."""

from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from dlcourse.internals import softmax_decompositions, unsafe_view
from dlcourse.metrics import Metrics, exact, from_sums, joined
from dlcourse.models.base import BatchLoss
from dlcourse.models.functional import loss_with
from dlcourse.tasks.base import Batch, logits

CHUNK_SAMPLES = 8192  # samples times models in one chunk of an evaluation
#: On a CPU the fused softmax kernels are several times slower for few classes than their parts.
SOFTMAX: Any = softmax_decompositions()


class Stacked:
    """T models: row t of ``w`` (T, P) holds the trainable parameters of model t, ``rest`` its other state.

    ``rest`` maps the names of frozen parameters and buffers (such as batch normalisation's) to (T, …). Only the first
    model object is kept; its ``forward`` and ``loss_of`` compute all models.
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
        """Gradients (T, P), losses (T,), outputs (T, B, …) and targets of a batch for each model.

        All of the batch is tensors: x (T, B, …), its seed and epoch (T,). The operations are recorded once for each
        batch size and then only replayed.
        """
        x, parts = batch.x, {name: part for name, part in batch._asdict().items() if part is not None}
        if x.shape not in self.traced:
            self.model.train()

            def loss(p: dict[str, Tensor], rest: dict[str, Tensor], parts: Any) -> tuple[Tensor, BatchLoss]:
                found = self._loss(p, rest, Batch(**parts))
                return found.loss, found

            vectorised = vmap(grad_and_value(loss, has_aux=True), randomness="different")
            # Recording runs the operations, which changes batch normalisation's statistics and random numbers.
            copies = {name: value.clone() for name, value in self.rest.items()}
            with torch.random.fork_rng():
                record = make_fx(vectorised, SOFTMAX if x.device.type == "cpu" else None)
                self.traced[x.shape] = simplified(record(self.parameters(self.w), copies, parts))
        with torch.no_grad():
            g, (_, found) = self.traced[x.shape](self.parameters(self.w), self.rest, parts)
        return torch.cat([part.flatten(1) for part in g.values()], 1), found

    def evaluate(self, w: Tensor, rest: dict[str, Tensor], batch: Batch, seeds: Tensor) -> BatchLoss:
        """Losses (T,), outputs (T, N, …) and targets of one batch for all models, each with its seed (T,).

        In evaluation mode.
        """
        self.model.eval()
        with torch.no_grad():
            vectorised = vmap(
                lambda p, rest, seed: self._loss(p, rest, batch._replace(seed=seed)),
                chunk_size=max(1, CHUNK_SAMPLES // len(batch.x)),
            )
            return vectorised(self.parameters(w), rest, seeds)

    def _loss(self, p: dict[str, Tensor], rest: dict[str, Tensor], batch: Batch) -> BatchLoss:
        """The loss of one model on its batch."""
        found = loss_with(self.model, {**p, **rest}, batch)
        return found._replace(divisor=torch.as_tensor(found.divisor, device=found.loss.device))

    def keep_models(self, rows: Tensor) -> None:
        """Keep only these models."""
        self.w = self.w[rows]
        self.rest = {name: value[rows] for name, value in self.rest.items()}
        self.traced.clear()

    def state_dict(self, w: Tensor, rest: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of one model from its w (P,) and its rest."""
        parts = w.split(self.sizes)
        own = {name: part.view(shape).clone() for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return {**self.model.state_dict(), **own, **{name: value.clone() for name, value in rest.items()}}


def simplified(recorded: GraphModule) -> GraphModule:
    """Simplify recorded operations: call them directly, and remove reshapes that change nothing."""
    reshaping = (torch.ops.aten.view.default, torch.ops.aten.expand.default, unsafe_view())
    for node in recorded.graph.nodes:
        if node.target in reshaping:
            old_shape, new_shape = (
                n.meta["tensor_meta"].shape if "tensor_meta" in n.meta else None for n in (node.args[0], node)
            )
            if old_shape is not None and old_shape == new_shape:
                node.replace_all_uses_with(node.args[0])
                recorded.graph.erase_node(node)
                continue
        if packet := getattr(node.target, "overloadpacket", None):  # calling the overload is several times slower
            name = packet.__name__
            for function in (getattr(torch, name, None), getattr(Tensor, name, None)):
                if isinstance(function, BuiltinFunctionType | MethodDescriptorType):
                    node.target = function
                    break
    recorded.recompile()
    return recorded


def metrics_of_all(model: Any, stage: str, batches: Sequence[BatchLoss]) -> list[dict[str, float]]:
    """The metrics of each model from batches of all: losses and divisors (T,), outputs and targets (T, B, …)."""
    losses = exact(torch.stack([batch.loss for batch in batches]))
    divisors = exact(torch.stack([torch.as_tensor(batch.divisor) for batch in batches]))
    outputs, targets = (joined(parts, 1) for parts in zip(*((b.output, b.target) for b in batches), strict=True))
    n = losses.new_tensor([logits(batch.output).shape[1] for batch in batches])[:, None]
    auxiliary = {}
    for name in batches[0].auxiliary:
        values = exact(torch.stack([batch.auxiliary[name] for batch in batches]))
        losses = losses - values
        auxiliary[name] = (values * (n / n.sum())).sum(0)
    total = divisors.sum(0)
    means = (losses * (divisors / total)).sum(0)
    for value in auxiliary.values():
        means = means + value

    def sums(
        loss: Tensor, divisor: Tensor, output: Any, target: Any, auxiliary: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        metrics = Metrics(model.task, model.output)
        metrics.update(loss, divisor, output, target, auxiliary=auxiliary)
        return metrics.total()

    found = from_sums(model.task, vmap(sums)(means, total, outputs, targets, auxiliary))
    columns = {name: values.tolist() for name, values in found.items()}
    return [{f"{stage}/{name}": values[k] for name, values in columns.items()} for k in range(len(means))]
