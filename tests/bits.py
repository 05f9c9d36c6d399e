"""Check that a change of the code leaves every weight and every metric equal to the last bit.

    python -m tests.bits record OUT.json [--checkout DIR] [NAMES…]   run the commands below (NAMES: digits, sweeps/tpe)
    python -m tests.bits compare BEFORE.json AFTER.json [NAMES…]     1 if anything differs

Record both on the same machine: another kind of processor adds in another order. The same command continues a recording
that was stopped. MNIST is read from DLCOURSE_DATA_DIR.
"""

import csv
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

OPTIMIZERS = ["gd", "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "muon", "lbfgs"]
LOSSES = ["mse", "mae", "huber", "bce", "hinge", "perceptron", "cross_entropy"]
GRID = "-m optimizer.lr=0.001,0.01 seed=0,1"
TWO_PROCESSES = "trainer=ddp trainer.accelerator=cpu trainer.devices=2 data.batch_size=16"

#: The overrides of each entry's command, or of several commands run one after another. {runs} is the folder of the
#: entry's run directories, {own} the folder with the files of `write_own_files`.
ENTRIES: dict[str, str | list[str]] = {
    "digits/mlp": "",
    "digits/cnn": "model=cnn optimizer=adam",
    "digits/tanh": "activation=tanh optimizer=momentum",
    "digits/lbfgs": "optimizer=lbfgs",
    "digits/norm_and_dropout": "model.norm=batch model.dropout=0.2",
    "digits/activation_a_layer": "model.hidden=[32,16] model.activation=[relu,prelu] init=xavier",
    "digits/perceptron": "model=perceptron",
    "digits/label_smoothing": "loss=cross_entropy loss.label_smoothing=0.1",
    "digits/diagnostics": "callbacks=diagnostics",
    "digits/pictures": "callbacks=pictures",
    "digits/early_stopping": "callbacks=early_stopping callbacks.early_stopping.patience=1 optimizer.lr=0.03 "
    "trainer.max_epochs=10",
    "digits/float64": "trainer.precision=64-true",
    "digits/clipping": "trainer.gradient_clip_val=0.5",
    "digits/accumulation": "trainer.accumulate_grad_batches=2",
    "digits/plateau": "scheduler=plateau scheduler.patience=0 optimizer.lr=0.02 trainer.max_epochs=6",
    "digits/one_cycle": "scheduler=one_cycle",
    "digits/warmup_cosine": "scheduler=warmup_cosine",
    "digits/shift": "model=cnn data.augment=shift",
    "digits/affine": "data.augment=affine",
    **{f"digits/optimizer_{name}": f"optimizer={name} trainer.max_epochs=2" for name in OPTIMIZERS},
    **{f"digits/loss_{name}": f"loss={name} trainer.max_epochs=2" for name in LOSSES},
    "data/moons": "data=moons",
    "data/moons_pictures": "data=moons callbacks=pictures",
    **{f"data/moons_{name}": f"data=moons loss={name}" for name in ("mse", "mae", "huber", "hinge", "perceptron")},
    "data/sigmoid_neuron": "data=moons model=sigmoid_neuron",
    "data/sine": "data=sine",
    "data/sine_pictures": "data=sine callbacks=pictures",
    **{f"data/sine_{name}": f"data=sine loss={name}" for name in ("mae", "huber")},
    "data/diabetes": "data=diabetes",
    "data/breast_cancer": "data=breast_cancer",
    "data/iris": "data=iris",
    "data/xor": "data=xor trainer.max_epochs=20",
    "data/and": "data=and model=perceptron trainer.max_epochs=10",
    "own/csv_classes": "data=csv data.path={own}/table.csv data.target=kind",
    "own/csv_two_classes": "data=csv data.path={own}/table.csv data.target=good",
    "own/csv_values": "data=csv data.path={own}/table.csv data.target=price",
    "own/folder_classes": "data=image_folder data.path={own}/three data.size=8 model=cnn",
    "own/folder_two_classes": "data=image_folder data.path={own}/two data.size=8 data.channels=1",
    "mnist/cnn": "data=mnist model=cnn trainer.max_epochs=1 trainer.limit_train_batches=100",
    "mnist/mlp": "data=mnist model=mlp trainer.max_epochs=1 trainer.limit_train_batches=200",
    "mnist/speedrun": "experiment=mnist_speedrun trainer.max_epochs=1",
    "resume/epochs": ["run_dir={runs}/run", "resume={runs}/run trainer.max_epochs=6"],
    "resume/dropout": ["model.dropout=0.2 run_dir={runs}/run", "resume={runs}/run trainer.max_epochs=6"],
    "resume/inside_an_epoch": ["trainer.max_steps=60 run_dir={runs}/run", "resume={runs}/run trainer.max_steps=120"],
    "resume/init_from": ["run_dir={runs}/first", "init_from={runs}/first seed=1 run_dir={runs}/second"],
    "sweeps/processes": f"{GRID} hydra/launcher=processes",
    "sweeps/vectorized": f"{GRID} hydra/launcher=vectorized",
    "sweeps/vectorized_values": f"{GRID} data=sine hydra/launcher=vectorized",
    "sweeps/vectorized_binary": f"{GRID} data=moons hydra/launcher=vectorized",
    "sweeps/tpe": "-m sampler=tpe hydra.sweeper.sampler.n_startup_trials=2 sweep.n_trials=5 model.hidden=[32] "
    "optimizer.lr=tag(log,interval(1e-4,1e-1)) model.dropout=interval(0.0,0.5)",
    "ddp/digits": TWO_PROCESSES,
    "ddp/sine": f"data=sine {TWO_PROCESSES}",
}
COMMON = "logger=none report=false paths.runs_dir={runs}"  # not for a resume, which reads them from its run
EPOCHS = "trainer.max_epochs=3"  # for a command that sets no limit itself
LONG = "17_nielsen"  # experiments that take many minutes; two epochs of one seed are run
CLOCK = ("seconds", "samples_per_s")
TENSORS = ("best.ckpt", "last.ckpt", "optimizer")  # the parts of a recorded run that hold tensors


def commands(checkout: Path) -> dict[str, list[str]]:
    """The commands of each entry, with an entry for every experiment of the checkout that makes a claim."""
    found = {}
    for name, given in ENTRIES.items():
        lines = [given] if isinstance(given, str) else given
        ended = [line if re.search("max_epochs|max_steps", line) else f"{line} {EPOCHS}" for line in lines]
        found[name] = [line if line.startswith("resume=") else f"{line} {COMMON}" for line in ended]
    for path in sorted((checkout / "conf" / "experiment").glob("*.yaml")):
        if re.search("^claim:", path.read_text("utf-8"), re.MULTILINE):
            short = " trainer.max_epochs=2 seed=0" if path.stem.startswith(LONG) else ""
            found[f"claims/{path.stem}"] = [f"experiment={path.stem} logger=csv paths.runs_dir={{runs}}{short}"]
    return found


def write_own_files(folder: Path) -> None:
    """Write a table with three columns to predict, and pictures of three and of two classes, the same every time."""
    chance = np.random.default_rng(0)
    with open(folder / "table.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["a", "b", "colour", "kind", "good", "price"])
        for a, b in chance.normal(size=(120, 2)).round(3).tolist():
            colour = ("red", "green", "blue")[int(chance.integers(3))]
            kind = "low" if a < -0.4 else "high" if a > 0.4 else "middle"
            table.writerow([a, b, colour, kind, "yes" if a + b > 0 else "no", round(3 * a - b + 0.1 * a * b, 3)])
    for classes in (("three", "dark", "grey", "light"), ("two", "dark", "light")):
        for name in classes[1:]:
            place = folder / classes[0] / name
            place.mkdir(parents=True)
            start = {"dark": 0, "grey": 60, "light": 120}[name]
            for k, pixels in enumerate(chance.integers(start, start + 130, size=(20, 12, 10, 3), dtype=np.uint8)):
                Image.fromarray(pixels).save(place / f"{k:02d}.png")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested dicts and lists: each tensor as dtype, shape and SHA-256, any other value as its repr."""
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        yield name, f"{value.dtype} {tuple(value.shape)} {sha256(data)}"
    elif isinstance(value, dict | list | tuple):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, f"{name}/{key}" if name else str(key))
    else:
        yield name, repr(value)


def fingerprint(run: Path) -> dict[str, Any]:
    """What must not change of a run directory: the tensors of its checkpoints, its metrics and its log rows."""
    found: dict[str, Any] = {}
    for name in ("best.ckpt", "last.ckpt"):
        if (path := run / "checkpoints" / name).exists():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            found[name] = dict(leaves(checkpoint["state_dict"]))
            if name == "last.ckpt":
                found["optimizer"] = dict(leaves(checkpoint["optimizer_states"]))
    if (path := run / "metrics.json").exists():
        final = json.loads(path.read_text("utf-8"))
        found["metrics.json"] = {k: repr(v) for k, v in final.items() if k not in CLOCK and not isinstance(v, str)}
    status = json.loads((run / "status.json").read_text("utf-8"))
    found["status.json"] = {key: repr(status[key]) for key in ("status", "exit_code")}
    files = [path for name in ("metrics.jsonl", "boundary.jsonl", "landscape.json") if (path := run / name).exists()]
    found["files"] = {path.name: sha256(path.read_bytes()) for path in files}
    found["rows"] = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return found


def head(checkout: Path) -> dict[str, str]:
    """The machine, the versions and the commit that a recording was made with."""
    cpu = re.search("model name\\s*: (.*)", Path("/proc/cpuinfo").read_text())
    git = partial(subprocess.check_output, cwd=checkout, text=True)
    changes = git(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "cpu": f"{cpu[1] if cpu else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "lightning", "numpy")},
        "commit": git(["git", "rev-parse", "HEAD"]).strip() + " and changes" * bool(changes),
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
    }


def record(out: Path, checkout: Path, names: list[str]) -> int:
    """Run the entries that ``out`` lacks and write it after each; 1 if a command failed."""
    found = json.loads(out.read_text("utf-8")) if out.exists() else {"head": head(checkout), "entries": {}}
    here = {**head(checkout), "date": found["head"]["date"]}
    if found["head"] != here:
        sys.exit(f"{out} was recorded with {found['head']}\nThis is {here}\nRecord into another file")
    every = commands(checkout)
    if unknown := [given for given in names if not any(name.startswith(given) for name in every)]:
        sys.exit(f"no entry begins with {' or '.join(unknown)}; there are {', '.join(every)}")
    chosen = {name: lines for name, lines in every.items() if name.startswith(tuple(names) or "")}
    failed = []
    with TemporaryDirectory() as own:
        write_own_files(Path(own))
        for k, (name, lines) in enumerate(chosen.items(), 1):
            if name in found["entries"]:
                continue
            began = time.monotonic()
            with TemporaryDirectory() as runs:
                error = run([line.format(runs=runs, own=own) for line in lines], checkout)
                paths = sorted(path.parent for path in Path(runs).rglob("metrics.jsonl"))
                entry = {} if error else {label(path): fingerprint(path) for path in paths}
            seconds = round(time.monotonic() - began, 1)
            print(f"{k}/{len(chosen)}  {name}  {seconds} s  {error or f'{len(entry)} runs'}", flush=True)
            if not entry:
                failed.append(name)
                continue
            found["entries"][name] = {"commands": lines, "seconds": seconds, "runs": entry}
            part = out.with_name(f".{out.name}.part")
            part.write_text(json.dumps(found, indent=1), "utf-8")
            os.replace(part, out)
    print(f"{len(found['entries'])} entries in {out}" + f"; failed: {', '.join(failed)}" * bool(failed))
    return int(bool(failed))


def run(lines: list[str], checkout: Path) -> str:
    """Run commands one after another, each on one thread; the error of the first that fails, or an empty string."""
    environment = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    for line in lines:
        command = [sys.executable, "train.py", *shlex.split(line)]
        done = subprocess.run(command, cwd=checkout, env={**os.environ, **environment}, capture_output=True, text=True)
        if done.returncode:
            return f"exit code {done.returncode}: {line}\n{done.stderr[-2000:]}"
    return ""


def label(path: Path) -> str:
    """The name of a run directory within its entry; one that is named by the time of day is called ``run``."""
    return "run" if re.match(r"\d\d-\d\d-\d\d_", path.name) else path.name


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Each difference between the recordings of a run; a buffer may have moved from the model into its task."""
    for part in sorted({*before, *after} - {"rows"}):
        one, two = ({key.removeprefix("task."): v for key, v in run.get(part, {}).items()} for run in (before, after))
        for name in sorted({*one, *two} - added(before, after, part)):
            if one.get(name) != two.get(name):
                yield f"{part} {name}: {one.get(name)} → {two.get(name)}"
    for number, (line, other) in enumerate(zip_longest(before["rows"], after["rows"]), 1):
        if line != other:
            yield f"metrics.jsonl line {number}: {line} → {other}"
            return


def added(before: dict[str, Any], after: dict[str, Any], part: str) -> set[str]:
    """The task's tensors that only the later checkpoint has; they are listed, but are no difference."""
    moved = {name.removeprefix("task.") for name in after.get(part, {}) if name.startswith("task.")}
    return {name for name in moved if not {name, f"task.{name}"} & {*before.get(part, {})}}


def compare(before: Path, after: Path, names: list[str]) -> int:
    """Print each difference and what was compared; 1 if anything differs, is missing or was not compared at all."""
    old, new = (json.loads(path.read_text("utf-8")) for path in (before, after))
    for key, value in old["head"].items():
        print(f"{key}: {value}" + f" → {new['head'][key]}" * (value != new["head"][key]))
    found, more = [], set()
    runs = tensors = rows = 0
    for name, entry in old["entries"].items():
        if not name.startswith(tuple(names) or ""):
            continue
        one, two = entry["runs"], new["entries"].get(name, {"runs": {}})["runs"]
        found += [f"{name} {key}: only {'before' if key in one else 'after'}" for key in sorted({*one} ^ {*two})]
        for key in sorted({*one} & {*two}):
            found += [f"{name} {key}: {difference}" for difference in differences(one[key], two[key])]
            more |= {f"task.{tensor}" for part in TENSORS for tensor in added(one[key], two[key], part)}
            tensors += sum(v.startswith("torch.") for part in TENSORS for v in one[key].get(part, {}).values())
            runs, rows = runs + 1, rows + len(one[key]["rows"])
    for line in [*(f"additional tensor: {tensor}" for tensor in sorted(more)), *found]:
        print(line)
    print(f"compared: {runs} runs, {tensors} tensors, {rows} log rows; {len(found)} differences")
    return int(bool(found) or not runs)


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.bits", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=["record", "compare"])
    parser.add_argument("file", type=Path, help="OUT.json, or BEFORE.json")
    parser.add_argument("names", nargs="*", help="AFTER.json of compare; then entries, or how their names begin (all)")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1], help="whose code is run (this)")
    given = parser.parse_intermixed_args()
    if given.command == "record":
        return record(given.file, given.checkout.resolve(), given.names)
    if not given.names:
        parser.error("compare BEFORE.json with which AFTER.json?")
    return compare(given.file, Path(given.names[0]), given.names[1:])


if __name__ == "__main__":
    sys.exit(main())
