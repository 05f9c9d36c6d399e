"""A data set as conf/data declares it, without the rest of the config."""

import os
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dlcourse.errors import ENVIRONMENT, Refused
from tests import objects

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SHARED = ("/gate", "image_folder")  # what several data sets share, but for the batches
DATA_DIR = Path(os.environ.get("DLCOURSE_DATA_DIR", ROOT / "data"))


@pytest.fixture
def load():
    """``load(name, **changes)``: the object of conf/data/NAME.yaml; facts of a person's own data are merged in."""

    def build(name, **changes):
        file = OmegaConf.load(CONF / "data" / f"{name}.yaml")
        shared = [
            CONF / (each[1:] if each.startswith("/") else f"data/{each}") for each in file.defaults if each in SHARED
        ]
        files = [OmegaConf.load(each.with_suffix(".yaml")) for each in shared] + [file]
        config = OmegaConf.merge(*files, {"seed": 0, "paths": {"data_dir": str(DATA_DIR)}})
        config = OmegaConf.merge(config, {"data": {"augment": None, **changes}})
        entries = [entry for each in files for entry in each.defaults]
        choice = next(entry["override /task"] for entry in entries if "override /task" in entry)
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
