"""What codes that were learned without labels are worth to classifiers and to clustering, and what inputs are worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import BATCH

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the linear classifier: the inverse of its weight decay


class FewLabels(Measure):
    """Accuracy on the test set with few labels: of codes, of as many principal components, and of the inputs.

    For each of ``labels`` numbers, ``draws`` stratified draws of that many training samples: means over the draws.
    ``codes_linear/100``: logistic regression on codes with 100 labels, at the strength of its weight decay that is best
    on the validation set on average; ``codes_near/100``: the nearest labelled sample. ``pca_…``, ``inputs_…``: the
    same. ``rand/codes``, ``rand/pca``, ``rand/inputs``: the adjusted Rand index of k-means, with as many clusters as
    classes, on the test set. All columns are divided by one number. For models with ``encode``, classes as y.
    Lecture: L5.
    """

    needs = ("encode",)

    def __init__(self, labels: Sequence[int] = (10, 30, 100, 300, 1000), draws: int = 20, seed: int = 0):
        self.labels, self.draws, self.seed = list(labels), draws, seed

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        from sklearn.decomposition import PCA

        inputs, y = inputs_of(data)
        codes = {stage: _codes(model, data.sets[stage].x) for stage in inputs}
        axes = PCA(codes["train"].shape[1], svd_solver="covariance_eigh").fit(inputs["train"])
        components = {stage: axes.transform(rows) for stage, rows in inputs.items()}
        found = {}
        for name, sets in {"codes": codes, "pca": components, "inputs": inputs}.items():
            x = scaled(sets)
            for count in self.labels:
                found[f"{name}_linear/{count}"], found[f"{name}_near/{count}"] = self._accuracies(x, y, count)
            found[f"rand/{name}"] = self._rand_index(x["test"], y["test"])
        return found

    def _accuracies(self, x: dict[str, np.ndarray], y: dict[str, np.ndarray], count: int) -> tuple[float, float]:
        """Mean accuracies of the linear classifier and of the nearest neighbour with ``count`` labels."""
        from sklearn.model_selection import StratifiedShuffleSplit
        from sklearn.neighbors import KNeighborsClassifier

        classes = len(np.unique(y["train"]))
        splits = StratifiedShuffleSplit(self.draws, train_size=count, test_size=classes, random_state=self.seed)
        draws = [chosen for chosen, _ in splits.split(y["train"], y["train"])]
        linear = np.zeros((2, len(STRENGTHS)))
        near = []
        for chosen in draws:
            rows, named = x["train"][chosen], y["train"][chosen]
            linear += linear_accuracies(rows, named, x, y, STRENGTHS) / self.draws
            near.append(KNeighborsClassifier(1).fit(rows, named).score(x["test"], y["test"]))
        return float(linear[1, linear[0].argmax()]), float(np.mean(near))

    def _rand_index(self, x: np.ndarray, y: np.ndarray) -> float:
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_rand_score

        clusters = KMeans(len(np.unique(y)), n_init=10, random_state=self.seed).fit_predict(x)
        return float(adjusted_rand_score(y, clusters))


class LinearInputs(Measure):
    """``inputs_linear``: the test accuracy of logistic regression on the inputs, trained on the training samples.

    ``strength``: C, the inverse of its weight decay, the one of ``strengths`` that is best on the validation set. For
    classes as y. Lecture: L5, L18.
    """

    def __init__(self, strengths: Sequence[float] = STRENGTHS):
        self.strengths = list(strengths)

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        inputs, y = inputs_of(data)
        x = scaled(inputs)
        val, test = linear_accuracies(x["train"], y["train"], x, y, self.strengths)
        best = val.argmax()
        return {"inputs_linear": float(test[best]), "strength": self.strengths[best]}


def inputs_of(data: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs (N, columns) of each set, and its targets."""
    inputs = {stage: data.sets[stage].x.flatten(1).double().numpy() for stage in ("train", "val", "test")}
    return inputs, {stage: data.sets[stage].y.numpy() for stage in inputs}


def scaled(sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All columns minus their mean over the training set, divided by one number."""
    mean, scale = sets["train"].mean(0), sets["train"].std()
    return {stage: ((rows - mean) / scale).astype(np.float32) for stage, rows in sets.items()}


def linear_accuracies(
    rows: np.ndarray,
    named: np.ndarray,
    x: dict[str, np.ndarray],
    y: dict[str, np.ndarray],
    strengths: Sequence[float],
) -> np.ndarray:
    """Accuracies (2, strengths) on validation and test set of logistic regression, trained on ``rows``."""
    from sklearn.linear_model import LogisticRegression

    found = []
    for strength in strengths:
        classifier = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(rows, named)
        found.append([classifier.score(x[stage], y[stage]) for stage in ("val", "test")])
    return np.array(found).T


def _codes(model: Any, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        parts = [model.encode(part.to(model.device, model.mean.dtype)).double().cpu() for part in x.split(BATCH)]
    return torch.cat(parts).numpy()
