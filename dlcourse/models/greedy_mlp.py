"""A multi-layer perceptron whose hidden layers are first trained one after another, without labels."""

from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from dlcourse.models.mlp import MLP
from dlcourse.noise import uniform
from dlcourse.tasks.base import Batch


class Restored(NamedTuple):
    """Logits z (N, outputs), which no gradient passes, and the error (N,) with which a layer's inputs are restored."""

    z: Tensor
    error: Tensor


class GreedyMLP(MLP):
    """An `MLP` that is pre-trained layer by layer: each hidden layer learns to keep what it is given.

    For ``epochs_per_layer`` epochs each, the first layer first, layer l sees its inputs a^(l−1) with a share ``masked``
    of them set to 0, and a linear decoder of its own restores them from a^l: a denoising autoencoder. Its loss
    ``layer`` is the mean squared error, in deviations of each input over the batch (the first layer's are standardised
    already). No other layer moves and no label is used. Then the whole network is trained on the labels, as any `MLP`;
    with 0 epochs it is one. If trainer.max_epochs ends before the labels are used, a warning says so. On several
    processes it needs trainer.strategy=ddp_find_unused_parameters_true, and each takes the deviations of its own rows.
    Lecture: L18. Hinton, Osindero and Teh (2006); Bengio et al. (2007); masked: Vincent et al. (2008).
    """

    def __init__(self, *, epochs_per_layer: int = 4, masked: float = 0.1, **parts: Any):
        super().__init__(**parts)
        self.epochs_per_layer, self.masked = epochs_per_layer, masked
        layers: Any = self.network
        self.starts = [k for k, part in enumerate(layers) if isinstance(part, nn.Linear)]  # the last one's output is z
        hidden = [layers[k] for k in self.starts[:-1]] if epochs_per_layer else []
        self.decoders = nn.ModuleList(nn.Linear(layer.out_features, layer.in_features) for layer in hidden)
        parts["init"](self.decoders)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        alone, epochs = self.epochs_per_layer * len(self.decoders), self.trainer.max_epochs
        if stage == "fit" and alone and epochs is not None and 0 <= epochs <= alone:
            rank_zero_warn(f"the layers train for {alone} epochs without labels: trainer.max_epochs={epochs} uses none")

    def output_of(self, inputs: Tensor, batch: Batch) -> Any:
        epoch = int(batch.epoch)
        if not self.training or epoch >= self.epochs_per_layer * len(self.decoders):
            return self(inputs)
        layers: Any = self.network
        layer = epoch // self.epochs_per_layer
        start, stop = self.starts[layer : layer + 2]
        with torch.no_grad():
            a = layers[:start](self.standardised(inputs))
            target = a if layer == 0 else (a - a.mean(0)) / (a.std(0, correction=0) + 1e-6)
            shown = uniform(batch.seed, batch.epoch, batch.index, a.shape[1], stream=6) >= self.masked
        restored = self.decoders[layer](layers[start:stop](a * shown))
        with torch.no_grad():
            z = self(inputs)
        return Restored(z, (restored - target).square().mean(1))

    def auxiliary_losses(self, output: Any) -> dict[str, Tensor]:
        return {"layer": output.error.mean()} if isinstance(output, Restored) else {}
