"""A trained model as an ONNX file, checked against the model before it is kept."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.data.fingerprint import changes
from dlcourse.errors import Refused

COUNT = 512
TOLERANCE = 1e-4  # largest relative difference of the exported model's outputs


class ModelWithOutput(nn.Module):
    """What an exported file computes: raw inputs to probabilities, thresholds or values."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.output(self.model.task.answer(self.model, x))


def export_onnx(model: Any, data: Any, path: Path) -> float:
    """Write an ONNX file for batches of any size; return its largest difference from the model on the test set.

    Where a person's files have changed since, on inputs drawn with the mean and deviation of the training set. Values
    are compared in deviations from the mean of the training targets. The difference is relative to the largest output
    if that exceeds 1.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise Refused(f"format=onnx needs {error.name}: pip install -e '.[export]'") from None
    x = inputs_to_compare(model, data).to(model.input_dtype)
    model_with_output = ModelWithOutput(model).eval()
    temporary = path.with_name(f".{path.name}")
    torch.onnx.export(
        model_with_output,
        (x[:2].clone(),),
        str(temporary),
        input_names=["x"],
        output_names=["output"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = torch.cat([model_with_output(batch) for batch in x.split(512)])
    exported = torch.cat([torch.from_numpy(session.run(None, {"x": batch.numpy()})[0]) for batch in x.split(512)])
    expected, exported = model.task.in_target_units(expected), model.task.in_target_units(exported)
    scale = expected.abs().max().clamp_min(1)
    worst = float((expected - exported).abs().max() / scale)
    if not worst <= TOLERANCE:
        temporary.unlink()
        raise Refused(f"the exported model differs from the trained one by {worst:.2g} (allowed {TOLERANCE:g})", 1)
    temporary.replace(path)
    return worst


def inputs_to_compare(model: Any, data: Any) -> Tensor:
    """Raw inputs (N, *shape) of the test set, or drawn ones if its files are not what they were."""
    if changes(data):
        drawn = torch.randn(COUNT, *model.example_input_array.shape[1:], generator=torch.Generator().manual_seed(0))
        return drawn * model.std + model.mean
    data.setup()
    inputs: Tensor = model.task.prepare_batch(data.samples("test"))[0]
    return inputs
