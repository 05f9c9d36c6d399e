"""No secret reaches a configuration, which is written to disk."""

import pytest

from tests.composing import checked
from tests.refusing import refusal


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "my_token", "AWS_SECRET_ACCESS_KEY", "DbPasswd", "PASSWORD"]
)
def test_a_secret_never_reaches_a_configuration(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2")
    reference = f"${{oc.env:{name}}}"
    for word in (
        f"+data.x='{reference}'",
        f"run_dir='a/{reference}'",
        f"model.hidden='{reference}'",
        f"tags=['{reference}']",
    ):
        message = refusal(checked, [word])
        assert name in message and "hunter2" not in message


@pytest.mark.parametrize(
    "words",
    [
        ["tags=[WANDB_API,KEY]", "model.dropout='${oc.env:${tags.0}_${tags.1}}'"],
        ["data.name='${oc.env:NOTHING,${oc.env:WANDB_API_KEY}}'"],
        ["data.name='${oc.env:WANDB_API_KEY,fallback}'"],
        ["data.name='${oc.decode:${oc.env:WANDB_API_KEY}}'"],
        ["model.activation='${oc.env:WANDB_API_KEY}'"],
        ["data.augment='${oc.env:WANDB_API_KEY}'"],
        ["data=csv", "data.path='${oc.env:WANDB_API_KEY}'"],
        ["monitor='${oc.env:WANDB_API_KEY}'"],
    ],
    ids=str,
)
def test_nor_by_a_detour(monkeypatch, words):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    assert "hunter2" not in refusal(checked, words)


def test_what_is_no_secret_may_be_read(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert checked(["tags=['${oc.env:SLURM_JOB_ID}']"]).tree["tags"] == ["17"]
    assert "SLURM_NOTHING" in refusal(checked, ["tags=['${oc.env:SLURM_NOTHING}']"])
    assert checked(["tags=['${oc.env:SLURM_NOTHING,none}']"]).tree["tags"] == ["none"]


def test_the_password_of_an_address_is_not_written_down():
    message = refusal(checked, ["sweep.storage=postgresql://ada:hunter2@host/db"])
    assert "sweep.storage" in message and "hunter2" not in message
    assert checked(["sweep.storage=postgresql://ada@host/db"]).cfg.sweep.storage == "postgresql://ada@host/db"
