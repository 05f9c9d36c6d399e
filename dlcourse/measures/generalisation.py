"""How a trained model generalises: to unseen samples, shifted pictures and unseen pairs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlcourse.errors import Refused
from dlcourse.measures import Measure
from dlcourse.metrics import joined
from dlcourse.tasks.base import logits
from dlcourse.tasks.predictions import BATCH, eval_mode, forward_batches


class Gap(Measure):
    """Loss and, of classes, accuracy on the training set without dropout; ``gap``: test loss − training loss.

    Lecture: L18.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        losses, found = {}, {}
        for stage in ("train", "test"):
            batch = data.samples(stage).to(model.device)
            batch = batch._replace(x=batch.x.to(next(model.parameters()).dtype))
            parts = [batch.rows(slice(start, start + BATCH)) for start in range(0, len(batch.x), BATCH)]
            with eval_mode(model):
                output = joined([model(model.task.prepare_batch(part)[0]) for part in parts])
            with torch.no_grad():
                losses[stage] = float(model.loss_of(batch, output).loss)
            if stage == "train" and model.task.classes is not None:
                found["train_acc"] = _accuracy(model, logits(output).cpu(), data.sets[stage].y)
        return {"train_loss": losses["train"], **found, "gap": losses["test"] - losses["train"]}


def _accuracy(model: Any, z: Tensor, y: Tensor) -> float:
    return float((model.task.predicted_class(z) == y).float().mean())


class Shifts(Measure):
    """The effect of shifting the pictures by ``pixels`` to the right.

    ``acc_shifted``: accuracy on the shifted test set, of classes. ``not_shifted``: ‖f(shifted x) − shifted f(x)‖ /
    ‖f(x)‖ for the maps f of the first layer with weights, away from the border: 0 for a convolution. A dense layer's
    units are arranged as maps of the picture's size, so their number must fit. ``parameters``: of that layer;
    ``dense_parameters``: of a dense layer from the same inputs to the same maps. Lecture: L7.
    """

    def __init__(self, pixels: int = 1):
        self.pixels = pixels

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        test, k = data.sets["test"], self.pixels
        x = test.x.float().to(model.device)
        shifted = torch.zeros_like(x)
        shifted[..., k:] = x[..., :-k]
        layer = next(part for part in model.network.modules() if isinstance(part, nn.Conv2d | nn.Linear))
        height, width = x.shape[-2:]
        with eval_mode(model):
            maps = [self._map(layer, (part - model.mean) / model.std) for part in (x, shifted)]
        if maps[0].shape[-2:] != (height, width):
            raise Refused(f"the first layer's map is {tuple(maps[0].shape[-2:])}, the picture {(height, width)}")
        border = 2 * k + 1
        if width <= 2 * border + k:
            raise Refused(f"pixels={k} leaves only the border of a picture {width} pixels wide")
        expected, shifted_map = maps[0][..., border - k : -border - k], maps[1][..., border:-border]
        inputs, outputs = x[0].numel(), maps[0][0].numel()
        found = {}
        if model.task.classes is not None:
            found["acc_shifted"] = _accuracy(model, forward_batches(model, shifted).z, test.y)
        return {
            **found,
            "not_shifted": float((shifted_map - expected).norm() / expected.norm()),
            "parameters": float(sum(p.numel() for p in layer.parameters())),
            "dense_parameters": float(outputs * (inputs + 1)),
        }

    @staticmethod
    def _map(layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Conv2d):
            return layer(x)
        units = layer(x.flatten(1))
        pixels_per_map = x.shape[-2] * x.shape[-1]
        if units.shape[1] % pixels_per_map:
            raise Refused(
                f"a dense layer of {units.shape[1]} units does not form pictures: set model.hidden=[{pixels_per_map}]"
            )
        return units.unflatten(1, (-1, *x.shape[-2:]))


class Verification(Measure):
    """Whether two test samples have the same class, by the cosine of the last hidden layer's activations.

    ``auc``: the area under the ROC curve for ``pairs`` random pairs, half of them of one class; ``pixel_auc``: the same
    for the raw inputs, for comparison. Lecture: L19.
    """

    def __init__(self, pairs: int = 10_000, seed: int = 0):
        self.pairs, self.seed = pairs, seed

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        test = data.sets["test"]
        output_layer = [part for part in model.network.modules() if isinstance(part, nn.Linear)][-1]
        activations: list[Tensor] = []
        hook = output_layer.register_forward_pre_hook(lambda _, inputs: activations.append(inputs[0].float().cpu()))
        try:
            forward_batches(model, test.x)
        finally:
            hook.remove()
        first, second = self._pairs(test.y.numpy())
        same = test.y[first] == test.y[second]

        def auc(codes: Tensor) -> float:
            similarity = nn.functional.cosine_similarity(codes[first], codes[second])
            return float(roc_auc_score(same.numpy(), similarity.numpy()))

        return {"auc": auc(torch.cat(activations)), "pixel_auc": auc(test.x.flatten(1).float())}

    def _pairs(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of random pairs, half of them of one class."""
        generator = np.random.default_rng(self.seed)
        first = generator.integers(0, len(y), self.pairs)
        second = generator.integers(0, len(y), self.pairs)
        for k in range(self.pairs // 2):
            second[k] = generator.choice(np.flatnonzero(y == y[first[k]]))
        return first, second
