"""What a decoder generates, as a classifier sees it that was trained on the same data."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.config.gate import compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.config.own_text import quoted
from dlcourse.measures import Measure
from dlcourse.measures.generalisation import codes
from dlcourse.runs.fit import train
from dlcourse.tasks.predictions import eval_mode, forward_batches

SURE = 0.9  # a probability above it counts as sure


class Generated(Measure):
    """``count`` new samples of the model's decoder, judged by a classifier that is trained here first.

    ``judge``: the overrides that train the classifier. ``judge_acc``: its accuracy on the test set. ``sure``: share of
    the samples to one of whose classes it gives more than 0.9; ``real_sure``: the same of test samples.
    ``least_class``: the share of the class that it sees least often. ``as_asked``: share that it takes for the class
    that the decoder was told, for models with ``classes``. ``spread``: mean distance of pairs of samples, by its last
    hidden layer, over that of test samples. ``nearest``: mean distance of a sample to the nearest training sample, by
    pixels, over that of a test sample: near 0 if training samples were learned by heart. Lecture: L4.
    """

    needs = ("draw", "decode", "classes")

    def __init__(self, judge: Sequence[str], count: int = 1000):
        self.judge, self.count = list(judge), count

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        judge, accuracy = self._trained_judge(data)
        test = data.sets["test"].x[: self.count]
        asked = torch.arange(self.count) % model.classes if model.classes else None
        with eval_mode(model):
            told = None if asked is None else torch.nn.functional.one_hot(asked, model.classes).to(model.device)
            samples = model.output(model.decode(model.draw(self.count, data.seed, told), told)).float().cpu()
        found = {"judge_acc": accuracy}
        probabilities, seen = forward_batches(judge, samples).a.max(1)
        shares = torch.bincount(seen, minlength=data.outputs).double() / self.count
        found |= {"sure": float((probabilities > SURE).float().mean()), "least_class": float(shares.min())}
        found["real_sure"] = float((forward_batches(judge, test).a.amax(1) > SURE).float().mean())
        found["spread"] = _spread(codes(judge, samples)) / _spread(codes(judge, test))
        known = data.sets["train"].x
        found["nearest"] = _to_nearest(samples, known) / _to_nearest(test, known)
        if asked is not None:
            found["as_asked"] = float((seen == asked).float().mean())
        return found

    def _trained_judge(self, data: Any) -> tuple[Any, float]:
        with tempfile.TemporaryDirectory() as folder:
            own = ["logger=none", "callbacks=none", "report=false", quoted("run_dir", Path(folder) / "judge")]
            place = [quoted("paths.data_dir", data.data_dir)] if hasattr(data, "data_dir") else []
            result = train(compose_checked(Overrides.parse([*self.judge, *place, *own])))
        return result.model, result.metrics["test/acc"]


def _spread(codes: Tensor) -> float:
    """Mean distance of all pairs of rows."""
    return float(nn.functional.pdist(codes).mean())


def _to_nearest(samples: Tensor, known: Tensor) -> float:
    """Mean distance of a sample to the nearest known one, by pixels."""
    from dlcourse.tasks.reconstruction_sections import nearest

    return float((samples.float() - nearest(samples.float(), known)).flatten(1).norm(dim=1).mean())
