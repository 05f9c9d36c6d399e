"""How good predicted boxes are: mean average precision, and whether it is the same everywhere in the picture."""

from importlib.util import find_spec
from typing import Any

from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from dlcourse.errors import Refused
from dlcourse.measures import Measure
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.predictions import forward_batches

NEEDED = "pycocotools"


class MeanPrecision(MeanAveragePrecision):
    """Mean over the classes of the average precision, a box being right if its IoU with a true one is ``iou`` or more.

    torchmetrics' figure by COCO's rules (Lin et al. 2014), as one number. Refused: pycocotools is not installed.
    """

    def __init__(self, iou: float = 0.5):
        if find_spec(NEEDED) is None:
            raise Refused(f"mean average precision needs {NEEDED}: pip install -e '.[detection]'")
        super().__init__(iou_thresholds=[iou])

    def compute(self) -> Tensor:  # type: ignore[override]
        found: Tensor = super().compute()["map"]
        return found


class Halves(Measure):
    """``left`` and ``right``: mean average precision on test scenes with all centres in that half of the picture.

    The digits are the same in both. ``kept``: right / left. For data with ``test_scenes``. Lecture: L7.
    """

    def __init__(self, iou: float = 0.5):
        self.metric = MeanPrecision(iou)

    def check(self, model: Any, data: Any) -> None:
        if data.y != "boxes" or not hasattr(data, "test_scenes"):
            raise Refused(f"data={data.name} has no boxes in one half of the picture; try data=scenes")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        found = {half: self.precision(model, *data.test_scenes(half)) for half in ("left", "right")}
        return {**found, "kept": found["right"] / max(found["left"], 1e-9)}

    def precision(self, model: Any, x: Tensor, y: Tensor) -> float:
        predictions: Predictions = forward_batches(model, x)
        self.metric.reset()
        self.metric.update(*model.task.comparable(predictions, y))
        return float(self.metric.compute())
