"""How long a prediction takes: the model as it is, compiled by PyTorch, and exported to ONNX.

python -m scripts.benchmarks.inference RUN SECONDS WORD: milliseconds a batch of 1 and of 256, the ways in turn.
The run is trained first, with WORD, if it is not there.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import dlcourse
from dlcourse.runs.export import ModelWithOutput, export_onnx
from dlcourse.runs.trained import restore
from dlcourse.tasks.predictions import eval_mode

BATCHES = (1, 256)


def main(run: str, seconds: str, word: str) -> None:
    if not Path(run).exists():
        dlcourse.run("data=mnist", "model=cnn", word, "callbacks=none", "scheduler=constant", f"run_dir={run}")
    _, model, data = restore(run)
    data.setup()
    x = data.sets["test"].x.float()
    readable = ModelWithOutput(model)
    ways: dict[str, Callable[[Tensor], object]] = {"model": readable}
    if any(map(which, ("g++", "c++", "clang++"))):  # PyTorch writes C++ and has it compiled
        ways["torch.compile"] = torch.compile(readable)
    if find_spec("onnxruntime"):
        import onnxruntime

        with TemporaryDirectory() as folder:
            export_onnx(model, data, Path(folder, "model.onnx"))
            session = onnxruntime.InferenceSession(str(Path(folder, "model.onnx")), providers=["CPUExecutionProvider"])
        ways["ONNX Runtime"] = lambda x: session.run(None, {"x": x.numpy()})
    measurements: dict[str, float] = {}
    with eval_mode(model):
        for size in BATCHES:
            batch = x[:size].clone()
            taken: dict[str, list[float]] = {name: [] for name in ways}
            for way in ways.values():
                way(batch)  # compiles
                way(batch)
            end = time.perf_counter() + float(seconds)
            while time.perf_counter() < end:
                for name, way in ways.items():
                    start = time.perf_counter()
                    way(batch)
                    taken[name].append(time.perf_counter() - start)
            measurements |= {f"{name}, {size}": 1e3 * median(times) for name, times in taken.items()}
    print(json.dumps(measurements))


if __name__ == "__main__":
    main(*sys.argv[1:])
