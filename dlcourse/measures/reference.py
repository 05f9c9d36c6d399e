"""Compare a trained model with a closed form, a formula of the lecture or another library."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlcourse import scratch
from dlcourse.cross_entropies import BCE, CrossEntropy
from dlcourse.errors import Refused
from dlcourse.losses import MSE
from dlcourse.measures import Measure
from dlcourse.measures.gradcheck import gradient_check
from dlcourse.runs.export import export_onnx
from dlcourse.tasks.predictions import forward_batches

SAMPLES = 16  # training samples for the gradient check


class Optimum(Measure):
    """``distance``: the largest |difference| between w, b of a single unit and those with the lowest loss.

    For mse: ordinary least squares, in closed form. For bce: logistic regression without regularisation, by
    scikit-learn. On raw inputs, and in the units of the targets. Refused: another loss, or a deeper model.
    Lecture: L2, L9.
    """

    def check(self, model: Any, data: Any) -> None:
        layers = [p for _, p in model.network.named_parameters()]
        if len(layers) != 2 or len(layers[0]) != 1 or type(model.loss) not in OPTIMA or not is_plain(model.loss):
            raise Refused("the lowest loss is known only for one unit without hidden layers, with mse or plain bce")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        w, b = (p.detach().double().cpu() for _, p in model.network.named_parameters())
        std, mean = (v.double().cpu().expand(w.shape[1]) for v in (model.std, model.mean))
        moments = {name: value.double().cpu() for name, value in model.task.named_buffers()}
        w = w[0] / std * moments.get("y_std", 1)
        b = b * moments["y_std"] + moments["y_mean"] if moments else b
        ours = torch.cat([w, b - (w * mean).sum()]).numpy()
        train = data.sets["train"]
        x, y = train.x.flatten(1).double().numpy(), train.y.flatten().double().numpy()
        return {"distance": float(np.abs(ours - OPTIMA[type(model.loss)](x, y)).max())}


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """w and b of ordinary least squares."""
    return np.linalg.lstsq(np.concatenate([x, np.ones((len(x), 1))], 1), y, rcond=None)[0]


def logistic_regression(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """w and b of logistic regression without regularisation."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    return np.concatenate([fitted.coef_[0], fitted.intercept_])


OPTIMA = {MSE: least_squares, BCE: logistic_regression}


def is_plain(loss: Any) -> bool:
    """Whether a loss has neither weights of classes nor smoothed targets."""
    given = (getattr(loss, name, None) for name in ("class_weights", "pos_weight"))
    return not loss.balanced and not getattr(loss, "label_smoothing", 0) and all(weights is None for weights in given)


class Formula(Measure):
    """``formula_error``: |loss on the test set − the lecture's formula in NumPy (scratch.py)|, relative to the loss.

    For bce, cross_entropy, and mse with identity or sigmoid. Lecture: L9, L10, L11.
    """

    def check(self, model: Any, data: Any) -> None:
        if type(model.loss) not in (MSE, BCE, CrossEntropy) or not is_plain(model.loss):
            raise Refused(f"the lecture has no formula for {type(model.loss).__name__} with its options")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        square = scratch.MSE if getattr(model.loss, "output_name", None) == "identity" else scratch.SIGMOID_MSE
        formulas = {MSE: square, BCE: scratch.BCE, CrossEntropy: scratch.CROSS_ENTROPY}
        inputs, target = model.task.prepare_batch(data.samples("test"))
        z = forward_batches(model, inputs).z.double()
        with torch.no_grad():
            ours, _ = model.loss(z, target.to(z) if target.is_floating_point() else target)
            ours, t = float(ours), model.loss.as_outputs(z, target)
        theirs = formulas[type(model.loss)].cost(z.numpy(), t.numpy())
        return {"formula_error": abs(ours - theirs) / abs(ours)}


class Probabilities(Measure):
    """Properties of softmax: ``sum_error`` = max |Σ_j a_j − 1|, ``shift_error`` = max |a(z + c) − a(z)|, c = 100.

    And ``lowest``, ``highest``: the range of all a_j. On the test set, in float64. Lecture: L2, L8f.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        z = forward_batches(model, data.sets["test"].x).z.double()
        a = model.loss.output(z)
        found = {"lowest": float(a.min()), "highest": float(a.max())}
        if a.shape[1] > 1:
            found["sum_error"] = float((a.sum(1) - 1).abs().max())
            found["shift_error"] = float((model.loss.output(z + 100) - a).abs().max())
        return found


class Gradients(Measure):
    """``gradient_error``: the largest relative difference of a parameter's gradient from finite differences.

    Lecture: L13.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        batch, copy = data.sets["train"].first(SAMPLES), deepcopy(model).cpu()
        return {"gradient_error": max(check.error for check in gradient_check(copy, batch))}


class Exported(Measure):
    """``export_error``: the largest difference of onnxruntime's outputs from the model's on the test set. Lecture: L23.

    The file is RUN/model.onnx.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        path = Path(model.trainer.default_root_dir) / "model.onnx"
        return {"export_error": export_onnx(deepcopy(model).cpu(), data, path)}
