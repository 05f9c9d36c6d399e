"""Models in bfloat16 (trainer.precision=bf16-true): inputs of other types, as data and report sections have them."""

import pytest
import torch
from lightning.pytorch.utilities.model_summary import ModelSummary

from dlcourse.runs.building import build
from dlcourse.tasks.predictions import forward_batches
from tests.composing import checked

MODELS = {
    "mlp": ["model=mlp", "model.hidden=[8]"],
    "greedy": ["model=greedy_mlp", "model.hidden=[8]"],
    "denoising": ["model=autoencoder", "task=denoising", "model.hidden=[8]"],
    "upscaler": ["model=upscaler", "model.channels=[4]"],
    "diffusion": ["model=latent_diffusion", "model.hidden=[8]", "model.code=2", "model.classes=10", "model.steps=2"],
}


@pytest.mark.parametrize("name", MODELS)
def test_inputs_of_every_type(name):
    """Lightning makes a batch's floating-point numbers bfloat16; whole pixels stay whole, an example stays float32."""
    data, model = build(checked(MODELS[name]).tree)
    data.setup()
    model.standardise(data)
    flops = ModelSummary(model).total_flops
    assert flops > 0 and ModelSummary(model.bfloat16()).total_flops == flops
    batch = data.sets["train"].first(4)
    for x in (batch.x.to(torch.uint8), batch.x, batch.x.bfloat16()):
        loss = model.loss_of(batch._replace(x=x)).loss
        assert loss.dtype is torch.bfloat16 and loss.isfinite()
    if name != "diffusion":
        return
    # Codes of test samples, codes between and beside them, and drawn ones, in the report.
    x = data.sets["test"].x[:20]
    assert model.encode(x).dtype is torch.bfloat16
    (section,) = model.task.visualize(model, data, forward_batches(model, x))
    assert {"Between two test samples", "New samples", "The code's plane"} <= {plot.alt for plot in section.plots}
    assert not any(plot.problem for plot in section.plots)
