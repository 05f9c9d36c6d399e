"""How a trained model generalises: to unseen samples, shifted pictures and unseen pairs."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.errors import Refused
from dlcourse.measures import Measure
from dlcourse.metrics import joined
from dlcourse.pairs import all_pairs, roc
from dlcourse.tasks.base import logits
from dlcourse.tasks.predictions import BATCH, eval_mode, forward_batches

COMPONENTS = (5, 10, 20, 40, 80, 160, 320)  # numbers of principal components that are tried
COMPONENTS_FROM = 2000  # training samples that they are taken from


class Gap(Measure):
    """Loss and, of classes, accuracy on the training set without dropout; ``gap``: test loss − training loss.

    Lecture: L18.
    """

    def check(self, model: Any, data: Any) -> None:
        if model.loss.compares_rows:
            raise Refused("the gap compares losses of two sets, and this loss depends on the number of rows compared")

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

    def check(self, model: Any, data: Any) -> None:
        if len(data.shape) != 3:
            raise Refused(f"a shift is of pictures (C, H, W); data={data.name} has inputs {tuple(data.shape)}")
        if data.shape[2] <= 5 * self.pixels + 2:
            raise Refused(f"pixels={self.pixels} leaves only the border of a picture {data.shape[2]} pixels wide")
        self._maps(model, data.sets["test"].x[:1])

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        test, k = data.sets["test"], self.pixels
        shifted = torch.zeros_like(test.x)
        shifted[..., k:] = test.x[..., :-k]
        (layer, maps), (_, shifted_maps) = (self._maps(model, x) for x in (test.x, shifted))
        border = 2 * k + 1
        expected, found_maps = maps[..., border - k : -border - k], shifted_maps[..., border:-border]
        inputs, outputs = test.x[0].numel(), maps[0].numel()
        found = {}
        if model.task.classes is not None:
            found["acc_shifted"] = _accuracy(model, forward_batches(model, shifted).z, test.y)
        return {
            **found,
            "not_shifted": float((found_maps - expected).norm() / expected.norm()),
            "parameters": float(sum(p.numel() for p in layer.parameters())),
            "dense_parameters": float(outputs * (inputs + 1)),
        }

    @staticmethod
    def _maps(model: Any, x: Tensor) -> tuple[nn.Module, Tensor]:
        """The first layer with weights, and its outputs of raw pictures (N, C, H, W) as maps (N, K, H, W)."""
        layer = next((part for part in model.network.modules() if isinstance(part, nn.Conv2d | nn.Linear)), None)
        if layer is None:
            raise Refused(f"{type(model).__name__} has no dense layer and no convolution of pictures")
        size = x.shape[-2:]
        with eval_mode(model), torch.no_grad():
            x = (x.to(layer.weight) - model.mean) / model.std
            maps = layer(x if isinstance(layer, nn.Conv2d) else x.flatten(1)).float()
        if maps.ndim == 2 and maps.shape[1] % size.numel():
            raise Refused(
                f"a dense layer of {maps.shape[1]} units does not form pictures: set model.hidden=[{size.numel()}]"
            )
        maps = maps.unflatten(1, (-1, *size)) if maps.ndim == 2 else maps
        if maps.shape[-2:] != size:
            raise Refused(f"the first layer's map is {tuple(maps.shape[-2:])}, the picture {tuple(size)}")
        return layer, maps


class Verification(Measure):
    """Whether two test samples have the same class, by the cosine of their codes, for all pairs of two of them.

    The code is the answer of a task of codes, else an encoder's, else the last hidden layer's activations. ``auc``: the
    area under the ROC curve; ``eer``: the equal error rate, where as many pairs of two classes are accepted as pairs of
    one class are rejected. For comparison ``pixel_…``: of the raw inputs minus the mean of the training set's;
    ``eigen_…``: of their first principal components (eigenfaces, Turk and Pentland 1991), whose number k is the one
    with the highest AUC on these pairs, to its advantage. ``seen_…``: of the code on the validation set.
    Lecture: L19. Refused: a test set with pairs of one kind only.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        train, test, val = (data.sets[stage] for stage in ("train", "test", "val"))
        mean = train.x.flatten(1).double().mean(0)
        raw, centred = (rows.x.flatten(1).double() - mean for rows in (test, train))
        axes = torch.linalg.svd(centred[:COMPONENTS_FROM], full_matrices=False)[2]
        try:
            code, pixels = (roc(all_pairs(each, test.y)) for each in (codes(model, test.x), raw))
            counts = sorted({min(k, len(axes)) for k in COMPONENTS})
            eigen = max((roc(all_pairs(raw @ axes[:k].T, test.y)) for k in counts), key=lambda found: found.auc)
        except ValueError as error:
            raise Refused(f"data={data.name}: {error}") from None
        found = {"": code, "pixel_": pixels, "eigen_": eigen}
        with suppress(ValueError):  # a small validation set may have pairs of one kind only
            found["seen_"] = roc(all_pairs(codes(model, val.x), val.y))
        return {f"{of}{name}": getattr(each, name) for of, each in found.items() for name in ("auc", "eer")}


class Identification(Measure):
    """Which class a test sample has, by the code most similar to its own among ``shots`` known samples of each class.

    ``rank1``: the share of the other samples for which the most similar known one is of their class, the mean over as
    many choices of the known ones as the smallest class has samples, each of which is known once for each of the
    ``shots``; ``pixel_rank1``: the same for raw inputs minus the mean of the training set's; ``chance``: 1 / classes.
    Lecture: L19. Refused: a class with no sample left.
    """

    def __init__(self, shots: int = 1):
        self.shots = shots

    def check(self, model: Any, data: Any) -> None:
        fewest = int(data.sets["test"].y.unique(return_counts=True)[1].min())
        if fewest <= self.shots:
            raise Refused(f"shots={self.shots}: a class has only {fewest} samples in the test set")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        test, y = data.sets["test"], data.sets["test"].y
        mean = data.sets["train"].x.flatten(1).double().mean(0)
        classes = y.unique()
        of_class = [(y == k).nonzero()[:, 0] for k in classes]

        def rank1(vectors: Tensor) -> float:
            unit = nn.functional.normalize(vectors.flatten(1).double())
            shares = []
            for choice in range(min(map(len, of_class))):
                turned = [rows.roll(-choice) for rows in of_class]
                known = torch.cat([rows[: self.shots] for rows in turned])
                asked = torch.cat([rows[self.shots :] for rows in turned])
                shares.append((y[known[(unit[asked] @ unit[known].T).argmax(1)]] == y[asked]).double().mean())
            return float(torch.stack(shares).mean())

        found = {"rank1": codes(model, test.x), "pixel_rank1": test.x.flatten(1).double() - mean}
        return {"chance": 1 / len(classes), **{name: rank1(vectors) for name, vectors in found.items()}}


def codes(model: Any, x: Tensor) -> Tensor:
    """The codes (N, K) of raw inputs x: the task's answer, the encoder's output, or the last hidden activations."""
    if model.task.prediction_form == "codes":
        return forward_batches(model, x).a
    if hasattr(model, "encode"):
        first = next(model.parameters())
        with eval_mode(model):
            return torch.cat(
                [model.encode(part.to(first.device, first.dtype)).float().cpu() for part in x.split(BATCH)]
            )
    output_layer = [part for part in model.network.modules() if isinstance(part, nn.Linear)][-1]
    activations: list[Tensor] = []
    hook = output_layer.register_forward_pre_hook(lambda _, inputs: activations.append(inputs[0].float().cpu()))
    try:
        forward_batches(model, x)
    finally:
        hook.remove()
    return torch.cat(activations)
