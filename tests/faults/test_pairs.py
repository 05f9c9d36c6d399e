"""E3: every activation with every loss and every kind of target: it trains to finite figures, or is refused by name."""

import math
from pathlib import Path

import pytest
import yaml

import dlcourse
from dlcourse import Refused
from dlcourse.config.groups import CONF

DATA = {"bits": "moons", "class_numbers": "iris", "values": "linear"}  # by the form of target
ACTIVATIONS = sorted(path.stem for path in (CONF / "activation").glob("*.yaml") if path.stem != "own")
SHIPPED = sorted(path for path in (CONF / "loss").glob("*.yaml") if path.stem != "own")
CHOICES = {path.stem: yaml.safe_load(path.read_text()) for path in SHIPPED}
LOSSES = {name: choice.get("loss", choice)["target_forms"] for name, choice in CHOICES.items()}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report: its page has tests of its own."""
    monkeypatch.setattr("dlcourse.report.page.build_report", lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_e3(activation: str, loss: str, tmp_path: Path) -> None:
    for form, data in DATA.items():
        words = [
            f"data={data}",
            f"loss={loss}",
            f"activation={activation}",
            "trainer.max_steps=3",
            "callbacks=none",
            "logger=none",
        ]
        if form in LOSSES[loss]:
            metrics = dlcourse.run(*words, f"run_dir={tmp_path / form}").metrics
            assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))
        else:
            with pytest.raises(Refused, match=f"loss={loss} cannot fit data={data}") as refusal:
                dlcourse.run(*words, f"run_dir={tmp_path / form}")
            assert refusal.value.code == 2 and not (tmp_path / form).exists()
