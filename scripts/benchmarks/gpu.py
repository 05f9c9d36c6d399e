"""What dlcourse does on a GPU, in one command of at most six minutes: python scripts/benchmark.py gpu

Each section is a process of its own with a time limit: one that fails or hangs loses its own row of the table. Without
a CUDA device, or with --small, the sizes are small: a dry run, whose measurements mean nothing.
python -m scripts.benchmarks.gpu SECTION small|whole: one section; its last line is its measurements as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from dlcourse.config.groups import CHECKOUT

from .measure import Contestant, Failed, Measurements, Row, Sample, import_path, machine, measure, python, train
from .rows import (
    BOUND,
    QUIET,
    Plan,
    digits_trials,
    multirun,
    spread_rates,
    step_overhead,
    throughput,
    time_to_accuracy,
)

Found = dict[str, dict[str, float | str]]  # what was measured: its measurements
WHOLE = 350  # seconds that all sections may take together, on a GPU


def gpu_tests(plan: Plan) -> Found:
    """the tests marked gpu"""
    dry = {"DLCOURSE_DRY_RUN": "1"} if plan.small else {}
    command = python("-m", "pytest", "-o", "addopts=", "-m", "gpu", "-q", str(CHECKOUT / "tests/test_gpu.py"))
    done = subprocess.run(command, cwd=CHECKOUT, env=os.environ | dry, capture_output=True, text=True)
    lines = done.stdout.splitlines() or done.stderr.splitlines() or [""]
    if done.returncode:
        failed = [line.removeprefix("FAILED tests/") for line in lines if line.startswith(("FAILED", "ERROR"))]
        raise Failed("; ".join([lines[-1], *failed]))
    return {"pytest -m gpu": {"result": lines[-1]}}


def mnist(plan: Plan) -> Found:
    """MNIST to 99 % in one pass over the data"""
    found = measured(time_to_accuracy(plan).contestants[:1])
    reached = found["dlcourse"]["test/acc"]
    if not plan.small and float(reached) < BOUND:
        raise Failed(f"a test accuracy of {reached:.4f}, not {BOUND}")
    return found


def overhead(plan: Plan) -> Found:
    """a step of a small network, beside a loop in plain PyTorch on the same device"""
    subprocess.run(python("-m", "scripts.benchmarks.prepare", str(plan.data), "digits"), cwd=CHECKOUT, check=True)
    csv, _, rare, *loops = step_overhead(plan).contestants
    for loop in loops:
        loop.command = [*loop.command, "60000", "cpu" if plan.small else "cuda"]
    return measured([csv, rare, *loops])


def sweep_of_64(plan: Plan) -> Found:
    """64 trials trained together, in two processes: 16 learning rates by 4 seeds, 100 epochs"""
    return vectorized(2, 2, 2) if plan.small else vectorized(16, 4, 100)


def sweep_of_1024(plan: Plan) -> Found:
    """1,024 trials trained together, in two processes: 64 learning rates by 16 seeds, 10 epochs"""
    return vectorized(4, 4, 1) if plan.small else vectorized(64, 16, 10)


def vectorized(rates: int, seeds: int, epochs: int) -> Found:
    words, varied = digits_trials(spread_rates(rates), seeds, epochs)
    found = measured([multirun("vectorized", "hydra/launcher=vectorized", *words, *varied, "sweep.workers=2")])
    trained = found["vectorized"]["trials"]
    if trained != rates * seeds:
        raise Failed(f"{trained:g} of {rates * seeds} trials finished")
    return found


def bf16(plan: Plan) -> Found:
    """Keras's convnet on MNIST, batches of 128, in float32 and by bf16-mixed"""
    return measured([convnet(plan, "32-true"), convnet(plan, "bf16-mixed", "trainer.precision=bf16-mixed")])


def compiled(plan: Plan) -> Found:
    """the same compiled, epochs after the first"""
    return measured([convnet(plan, "compile=true", "compile=true")])


def convnet(plan: Plan, name: str, *words: str) -> Contestant:
    usual = throughput(plan).contestants[0]
    few = ["trainer.limit_val_batches=2", "trainer.limit_test_batches=2"] if plan.small else []

    def measurements(sample: Sample) -> Measurements:
        return {**usual.measurements(sample), "test/acc": sample.json("metrics.json")["test/acc"]}

    return Contestant(name, [*usual.command, *few, *words], measurements, env=usual.env)


def resume(plan: Plan) -> Found:
    """a run killed by SIGKILL and resumed, beside one that nothing stopped: metrics and weights, bit for bit"""
    epochs = 10 if plan.small else 30
    words = (*QUIET, "report=false", "model.dropout=0.3", f"trainer.max_epochs={epochs}", "checkpoint.every=10steps")
    with tempfile.TemporaryDirectory() as folder:
        straight, killed = Path(folder, "straight"), Path(folder, "killed")
        finish(train(*words), straight)
        process = subprocess.Popen(in_directory(train(*words), killed), stdout=subprocess.DEVNULL, cwd=CHECKOUT)
        rows = killed / "metrics.jsonl"
        while process.poll() is None and (not rows.exists() or rows.read_text().count("\n") < epochs):
            time.sleep(0.005)
        process.kill()
        if process.wait() == 0:
            raise Failed("the run ended before it was killed")
        steps = json.loads(rows.read_text().splitlines()[-1])["step"]
        finish(python(str(CHECKOUT / "train.py"), f"resume={killed}"), killed)
        if rows.read_bytes() != (straight / "metrics.jsonl").read_bytes():
            raise Failed("metrics.jsonl differs")
        compare_weights(straight, killed)
        return {"model=mlp": {"result": "the same bits", "killed after step": float(steps)}}


def in_directory(command: Sequence[str], path: Path) -> list[str]:
    return [word.replace("{run}", str(path)) for word in command]


def finish(command: Sequence[str], path: Path) -> None:
    done = subprocess.run(in_directory(command, path), cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")


def compare_weights(one: Path, other: Path) -> None:
    import torch

    from dlcourse.runs.checkpoint_file import load

    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = (load(path / "checkpoints" / name)["state_dict"] for path in (one, other))
        if differing := [key for key, w in ours.items() if not torch.equal(w, theirs[key])]:
            raise Failed(f"{name}: {', '.join(differing)} differ")


def measured(contestants: list[Contestant]) -> Found:
    """The measurements of one round."""
    result = measure("gpu", Row(contestants, 1), lambda line: None)
    return {name: dict(rounds[0]) for name, rounds in result["measurements"].items()}


class Section(NamedTuple):
    run: Callable[[Plan], Found]
    limit: int  # seconds

    @property
    def title(self) -> str:
        return str(self.run.__doc__)


SECTIONS = {
    "tests": Section(gpu_tests, 120),
    "mnist": Section(mnist, 40),
    "resume": Section(resume, 60),
    "overhead": Section(overhead, 80),
    "sweep64": Section(sweep_of_64, 50),
    "bf16": Section(bf16, 60),
    "compile": Section(compiled, 80),
    "sweep1024": Section(sweep_of_1024, 120),  # a tenth of a second a trial, for its configuration and its directory
}


@dataclass
class Outcome:
    """What became of a section: its measurements, or why there are none."""

    seconds: float
    found: Found = field(default_factory=dict)
    failure: str = ""


def outcome(command: Sequence[str], limit: float) -> Outcome:
    """Run a section's process; whatever it has started ends with it."""
    began = time.perf_counter()
    if limit <= 0:
        return Outcome(0.0, failure="not started: no time left")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        env = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": import_path()}
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=CHECKOUT, env=env, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return Outcome(time.perf_counter() - began, failure=f"still running after {limit:.0f} s")
        finally:
            end(process)
        seconds = time.perf_counter() - began
        lines, reported = last_lines(out), last_lines(err)
    if code == 0 and lines and lines[-1].startswith("{"):
        return Outcome(seconds, json.loads(lines[-1]))
    return Outcome(seconds, failure=f"ended with {code}: {(reported or lines or ['no output'])[-1]}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """The process, and those of its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_lines(file: Any) -> list[str]:
    file.seek(0)
    return [line.strip() for line in file.read().splitlines() if line.strip()]


def check(small: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    """All sections in turn; what is kept as JSON."""
    import torch

    dry = small or not torch.cuda.is_available()
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    deadline = time.monotonic() + (3600 if dry else WHOLE)
    outcomes = {}
    for name, section in SECTIONS.items():
        limit = min(section.limit * (5 if dry else 1), deadline - time.monotonic())
        command = python("-m", "scripts.benchmarks.gpu", name, "small" if dry else "whole")
        outcomes[name] = outcome(command, limit)
        tell(f"{name}: {outcomes[name].failure or 'done'}, {outcomes[name].seconds:.0f} s")
    return {
        "date": date.today().isoformat(),
        "dry": dry,
        "card": card,
        "cuda": torch.version.cuda,
        "machine": machine(),
        "sections": {name: asdict(each) for name, each in outcomes.items()},
    }


def cells(result: dict[str, Any]) -> Iterator[list[str]]:
    for name, each in result["sections"].items():
        wall = f"{each['seconds']:.0f}"
        if each["failure"]:
            yield [name, "", f"FAILED: {each['failure'][:200]}", wall]
        for what, measurements in each["found"].items():
            shown = ", ".join(
                f"{key} {v if isinstance(v, str) else format(v, '.4g')}" for key, v in measurements.items()
            )
            yield [name, what, shown, wall]
            name = wall = ""


def table(result: dict[str, Any]) -> str:
    """The machine, a line for each measurement, and what the sections are."""
    from tabulate import tabulate

    host = result["machine"]
    packages = ", ".join(f"{name} {found}" for name, found in host["packages"].items())
    head = f"{result['card']}; CUDA {result['cuda']}, Python {host['python']}, {packages}; {host['cores']} cores"
    if result["dry"]:
        head = f"dry run on the CPU, in small sizes: the measurements mean nothing\n{head}"
    shown = tabulate(cells(result), headers=["section", "what", "measurements", "seconds"], disable_numparse=True)
    notes = "\n".join(f"- {name}: {section.title}" for name, section in SECTIONS.items())
    seconds = sum(each["seconds"] for each in result["sections"].values())
    return f"{head}\n\n{shown}\n\n{notes}\n\n{seconds:.0f} s in all, {result['date']}"


def main(name: str, size: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(1, (), size == "small", False, Path(folder))
        plan.env = {}  # our own commands read DLCOURSE_DATA_DIR themselves
        try:
            found = SECTIONS[name].run(plan)
        except Failed as failure:
            lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
            sys.exit(" … ".join(dict.fromkeys([lines[0][:120], lines[-1][-160:]])))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
