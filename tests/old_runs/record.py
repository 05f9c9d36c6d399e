"""Seven run directories as earlier code left them: how they were made, and what that code answered when asked.

To make them again, check out the commit that their environment.json names, copy this file out of the checkout (which
must be clean, or the runs say so), and with OMP_NUM_THREADS=1, WANDB_MODE=offline and the checkout in PYTHONPATH:

    mkdir new && cp record.py new
    python new/record.py make new      # the data, the inputs to predict, and the runs, trained in HOME
    python new/record.py answers new   # asks the finished runs everything, and writes expected.json

``lay_out`` copies runs to a folder in which the commands find the data again. tests/test_old_runs.py asks the same
questions by the same functions.
"""

import hashlib
import io
import json
import os
import platform
import random
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import dlcourse

ROOT = Path(dlcourse.__file__).parents[1]  # of train.py and scripts/
HERE = Path(__file__).parent
HOME = "/data/dlcourse"  # what the stored paths begin with: nobody's own folder, and not there any more
TABLE = ["data=csv", "data.path=data/houses.csv", "data.target=price"]
FOLDER = ["data=image_folder", "data.path=data/pictures", "data.size=16"]
CNN = ["model=cnn", "model.channels=[4,8]", "model.hidden=[8]", "activation=tanh"]
#: The words of each run.
RUNS = {
    "digits": ["model.hidden=[16]", "callbacks=diagnostics", "logger=csv", "trainer.max_epochs=4"],
    "csv": [*TABLE, "model.hidden=[8]", "optimizer.lr=0.01", "logger=none", "trainer.max_epochs=20"],
    "folder": [*FOLDER, *CNN, "optimizer.lr=0.01", "data.batch_size=4", "logger=none", "trainer.max_epochs=6"],
    "perceptron": ["model=perceptron", "data=and", "logger=wandb", "logger.mode=offline", "trainer.max_epochs=10"],
    "ddp": [
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data=sine"),
        *("model.hidden=[8]", "activation=tanh", "optimizer.lr=0.01", "logger=none", "trainer.max_epochs=8"),
    ],
    "vectorised": [
        *("-m", "hydra/launcher=vectorized", "optimizer.lr=0.01,0.03", "data=moons", "model.hidden=[8]"),
        *("logger=csv", "trainer.max_epochs=6", "sweep_dir=sweep"),
    ],
    "unfinished": ["model.hidden=[8]", "logger=none", "trainer.max_epochs=200"],
}
FINISHED = [name for name in RUNS if name != "unfinished"]
INPUTS = {
    "digits": "digits.npy",
    "csv": "houses.csv",
    "folder": "pictures",
    "perceptron": "points.npy",
    "ddp": "values.npy",
    "vectorised": "points.npy",
}
#: One epoch more from a run's weights, by SGD: Adam makes large what differs in the last bit.
AGAIN = ["optimizer=sgd", "optimizer.lr=0.01", "trainer=cpu", "logger=none", "callbacks=none", "report=false"]
FROM = {
    "digits": ["model.hidden=[16]"],
    "csv": [*TABLE, "model.hidden=[8]", "+data.by_row=true"],  # a new run, but its rows divided as they were then
    "folder": [*FOLDER, *CNN, "data.batch_size=4", "+data.as_before=true"],
    "perceptron": ["model=perceptron", "data=and"],
    "ddp": ["data=sine", "model.hidden=[8]", "activation=tanh"],
    "vectorised": ["data=moons", "model.hidden=[8]"],
}
#: What of a run directory is stored. last.ckpt, to continue with, only of two.
FILES = ("config.yaml", "overrides.yaml", "environment.json", "metrics.jsonl", "timing.jsonl", "metrics.json")
KEPT = (*FILES, "status.json", "checkpoints/best.ckpt")
WITH_LAST = ("digits", "unfinished")


def lay_out(folder: Path, *names: str) -> None:
    """Copy runs to FOLDER/runs, and the data and inputs beside them; the stored paths then name these copies."""
    for part in ("data", "inputs"):
        shutil.copytree(HERE / part, folder / part)
    for name in names:
        shutil.copytree(HERE / name, folder / "runs" / name)
        config = folder / "runs" / name / "config.yaml"
        config.write_text(config.read_text("utf-8").replace(HOME, str(folder)), "utf-8")


# The questions; each is asked in a folder that lay_out has filled.


def command(script: str, *words: str) -> tuple[int, str]:
    """``python SCRIPT WORDS`` in this process: its exit code and what it prints."""
    with mock.patch.object(sys, "argv", [script, *words]), redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def printed(script: str, *words: str) -> str:
    """What a command prints that must succeed."""
    code, out = command(script, *words)
    assert code == 0, f"{script} {' '.join(words)} ended with {code}"
    return out


def evaluate(run: str) -> dict[str, Any]:
    """The test metrics as they are printed, and with all their digits."""
    import lightning.pytorch as pl

    test, metrics = pl.Trainer.test, {}

    def recorded(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> Any:
        result = test(trainer, *args, **kwargs)
        metrics.update({name: float(value) for name, value in trainer.callback_metrics.items()})
        return result

    with mock.patch.object(pl.Trainer, "test", recorded):
        return {"stdout": printed("scripts/evaluate.py", f"run=runs/{run}"), "metrics": metrics}


def predict(run: str) -> str:
    """A line a row; of a table, whose rows are numbered today, what is predicted alone."""
    out = printed("scripts/predict.py", f"run=runs/{run}", f"input=inputs/{INPUTS[run]}")
    head, *lines = out.splitlines()
    return "".join(line.split("\t")[1] + "\n" for line in lines) if head.startswith("row\t") else out


def export(run: str) -> list[list[float]]:
    """The outputs of the exported file for the stored rows, or for three made-up ones."""
    import numpy as np
    import onnxruntime

    printed("scripts/export.py", f"run=runs/{run}", "format=onnx")
    session = onnxruntime.InferenceSession(f"runs/{run}/model.onnx", providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()
    shape = (3, *x.shape[1:])
    stored, made_up = Path("inputs", INPUTS[run]), np.arange(np.prod(shape)).reshape(shape) % 17 * 15
    rows = np.load(stored) if stored.suffix == ".npy" else made_up
    return session.run(None, {x.name: rows.astype(np.float32)})[0].tolist()


def report(run: str) -> list[list[str]]:
    """The rows of the results on the page: name, test, validation."""
    printed("scripts/report.py", f"run=runs/{run}")
    page = Path("runs", run, "report.html").read_text("utf-8")
    results = page[page.index(">Results<") :]
    rows = re.findall(r"<tr>.*?</tr>", results[: results.index("</table>")], re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows[1:]]  # but for the head


def init_from(run: str) -> dict[str, Any]:
    """Every row of metrics.jsonl of one more epoch, and a hash of each weight that it ends with."""
    import torch

    words = [*FROM[run], *AGAIN, "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
    printed("train.py", *words, f"init_from=runs/{run}", f"run_dir=again/{run}")
    folder = Path("again", run)
    weights = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    return {
        "rows": [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()],
        "weights": {
            name: hashlib.sha256(weight.numpy().tobytes()).hexdigest()
            for name, weight in weights.items()
            if name.startswith("network.")
        },
    }


def table() -> list[str]:
    """The lines of ``scripts/runs.py`` for the runs that lie there."""
    return printed("scripts/runs.py", "format=csv").splitlines()


QUESTIONS = {ask.__name__: ask for ask in (evaluate, predict, export, report, init_from)}


def machine() -> dict[str, str]:
    """On what the last bits of the answers depend."""
    import torch

    cpu = platform.machine()
    if (file := Path("/proc/cpuinfo")).exists():
        first = file.read_text().partition("\n\n")[0]
        lines = dict(map(str.strip, line.partition(":")[::2]) for line in first.splitlines())
        cpu = " ".join(lines.get(key, "") for key in ("vendor_id", "cpu family", "model", "stepping"))
    told = {"cpu": f"{cpu} {torch.backends.cpu.get_cpu_capability()}"}
    for name in ("torch", "numpy", "scikit-learn", "onnxruntime"):
        with suppress(PackageNotFoundError):
            told[name] = version(name)
    return told


def answers(folder: Path) -> None:
    """Ask every run everything, and write expected.json."""
    expected: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as place:
        lay_out(Path(place), *RUNS)
        os.chdir(place)
        expected["table"] = table()
        for name in FINISHED:
            expected[name] = {question: ask(name) for question, ask in QUESTIONS.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", "utf-8")


# The runs


def make(folder: Path) -> None:
    """Write the data and the inputs, train every run in HOME, and keep of it what is to be stored."""
    write_data(folder / "data", folder / "inputs")
    shutil.copytree(folder / "data", Path(HOME, "data"))
    for name, words in RUNS.items():
        command = [sys.executable, str(ROOT / "train.py"), *words]
        if name == "vectorised":
            subprocess.run(command, cwd=HOME, check=True)
            made = Path(HOME, "sweep", "0001")
        else:
            made = Path(HOME, "runs", name)
            process = subprocess.Popen([*command, f"run_dir=runs/{name}"], cwd=HOME)
            if name == "unfinished":
                kill_after_checkpoint(process, made)
            elif process.wait():
                raise SystemExit(f"{name} ended with {process.returncode}")
        for file in (*KEPT, *["checkpoints/last.ckpt"] * (name in WITH_LAST)):
            if (made / file).exists():
                (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made / file, folder / name / file)
        environment = folder / name / "environment.json"  # but for the release of this machine's kernel
        environment.write_text(re.sub(r'"Linux-[^"]*-x86_64', '"Linux-x86_64', environment.read_text("utf-8")), "utf-8")


def kill_after_checkpoint(process: subprocess.Popen, run: Path) -> None:
    while not (run / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.001)
    process.kill()
    process.wait()


def write_data(data: Path, inputs: Path) -> None:
    """A table of houses and pictures of circles and crosses to train on, and new rows of everything to predict."""
    import numpy as np
    from sklearn.datasets import load_digits

    draw = random.Random(0)
    inputs.mkdir(parents=True)
    for folder, count in ((data, 12), (inputs, 2)):
        for kind in ("circle", "cross"):
            for k in range(count):
                # A folder of classes to train on; one folder of all to predict.
                file = Path("pictures", kind, f"{k:02d}.png") if folder == data else Path("pictures", f"{kind}{k}.png")
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                picture(kind, draw).save(folder / file)
    houses = [house(draw) for _ in range(90)]
    write_table(data / "houses.csv", ["area", "rooms", "heating", "price"], houses)
    new = [(heating, area, rooms) for area, rooms, heating, _ in (house(draw) for _ in range(5))]
    write_table(inputs / "houses.csv", ["heating", "area", "rooms"], new)
    np.save(inputs / "digits.npy", load_digits().images[:5, None].astype(np.uint8))
    np.save(inputs / "points.npy", np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, -0.5]], np.float32))
    np.save(inputs / "values.npy", np.linspace(-3, 3, 5, dtype=np.float32)[:, None])


def house(draw: random.Random) -> tuple[float, int, str, int]:
    """Area, rooms, heating and price."""
    area, rooms, heating = round(draw.uniform(40, 220), 1), draw.randint(1, 8), draw.choice(["gas", "oil", "wood"])
    cost = {"gas": 20_000, "oil": 0, "wood": 35_000}[heating]
    return area, rooms, heating, round(2_500 * area + 9_000 * rooms + cost + draw.gauss(0, 10_000))


def write_table(path: Path, names: list[str], rows: list[tuple]) -> None:
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n", "utf-8")


def picture(kind: str, draw: random.Random) -> Any:
    """A circle or a cross of 20 x 20 pixels, in any colour on a dark ground."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (20, 20), tuple(draw.randint(0, 60) for _ in range(3)))
    x, y, r = draw.randint(7, 12), draw.randint(7, 12), draw.randint(4, 6)
    colour, pen = tuple(draw.randint(120, 255) for _ in range(3)), ImageDraw.Draw(image)
    if kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=2)
    else:
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=2)
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=2)
    return image


if __name__ == "__main__":
    {"make": make, "answers": answers}[sys.argv[1]](Path(sys.argv[2]).resolve())
