"""A trained model as an ONNX file, checked against the model before it is kept."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.errors import Refused

TOLERANCE = 1e-4  # how far an exported model's outputs may lie from the model's own


class Readable(nn.Module):
    """Raw inputs to probabilities, thresholds or values: what an exported file computes."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.output(self.model(x))


def export_onnx(model: Any, data: Any, path: Path) -> float:
    """Write an ONNX file with a batch of any size, and return how far it lies from the model on the test set.

    The largest difference of any output, relative to the largest output where that exceeds 1 (values in their units).
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise Refused(f"format=onnx needs {error.name}: pip install -e '.[export]'") from None
    data.setup()
    x = data.sets["test"].x.float()
    readable = Readable(model).eval()
    beside = path.with_name(f".{path.name}")
    torch.onnx.export(
        readable,
        (x[:2].clone(),),
        str(beside),
        input_names=["x"],
        output_names=["output"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(beside), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        own = torch.cat([readable(part) for part in x.split(512)])
    there = torch.cat([torch.from_numpy(session.run(None, {"x": part.numpy()})[0]) for part in x.split(512)])
    scale = own.abs().max().clamp_min(1)
    worst = float((own - there).abs().max() / scale)
    if not worst <= TOLERANCE:
        beside.unlink()
        raise Refused(f"the exported model differs from the trained one by {worst:.2g} (allowed {TOLERANCE:g})", 1)
    beside.replace(path)
    return worst
