"""A data set as conf/data declares it, without the rest of the config."""

import os
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dlcourse.errors import ENVIRONMENT, Refused
from tests import objects

ROOT = Path(__file__).parents[2]
DATA_DIR = Path(os.environ.get("DLCOURSE_DATA_DIR", ROOT / "data"))


@pytest.fixture
def load():
    """``load(name, **changes)``: the object of conf/data/NAME.yaml; facts of a person's own data are merged in."""

    def build(name, **changes):
        config = OmegaConf.load(ROOT / "conf" / "data" / f"{name}.yaml")
        config = OmegaConf.merge(config, {"seed": 0, "paths": {"data_dir": str(DATA_DIR)}})
        config = OmegaConf.merge(config, {"data": {"augment": None, **changes}})
        choice = next(each["override /task"] for each in config.defaults if "override /task" in each)
        if "facts" in config.data:
            facts = OmegaConf.to_container(config.data.facts, resolve=True)
            found = instantiate(facts, _convert_="all")
            choice = found.pop("task")
            del config.data.facts, config.data.task
            config.data.update(found)
        task = objects.task(choice, config.data.outputs, shape=config.data.shape, classes=config.data.classes)
        return instantiate(config.data, _convert_="all", _partial_=True)(task=task)

    return build


@pytest.fixture
def arrays():
    """``arrays(data)``: its arrays, or a skip where no source of them answers."""

    def get(data):
        try:
            return data.arrays()
        except Refused as refusal:
            if refusal.code != ENVIRONMENT:
                raise
            pytest.skip(str(refusal).replace("\n", " "))

    return get
