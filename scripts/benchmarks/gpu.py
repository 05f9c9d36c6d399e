"""What dlcourse does on a GPU, in one command of at most six minutes: python scripts/benchmark.py gpu

Each section is a process of its own with a time limit: one that fails or hangs loses its own row of the table. Those
that time nothing run side by side, after the others. Without a CUDA device, or with --small, the sizes are small: a dry
run, whose measurements mean nothing.
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
from concurrent.futures import ThreadPoolExecutor
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
    csv, *_, loop, fused = step_overhead(plan).contestants
    for each in (loop, fused):
        each.command = [*each.command, "60000", "cpu" if plan.small else "cuda"]
    return measured([csv, loop, fused])


def sweep_of_64(plan: Plan) -> Found:
    """64 trials trained together, in two processes: 16 learning rates by 4 seeds, 100 epochs"""
    return vectorized(2, 2, 2) if plan.small else vectorized(16, 4, 100)


def sweep_of_1024(plan: Plan) -> Found:
    """1,024 trials trained together, in eight processes: 64 learning rates by 16 seeds, 10 epochs"""
    return vectorized(4, 4, 1) if plan.small else vectorized(64, 16, 10, workers=8)


def vectorized(rates: int, seeds: int, epochs: int, workers: int = 2) -> Found:
    words, varied = digits_trials(spread_rates(rates), seeds, epochs)
    own = ("hydra/launcher=vectorized", f"sweep.workers={workers}")
    found = measured([multirun("vectorized", *own, *words, *varied)])
    trained = found["vectorized"]["trials"]
    if trained != rates * seeds:
        raise Failed(f"{trained:g} of {rates * seeds} trials finished")
    return found


def copies(plan: Plan) -> Found:
    """copies and waits a step, by PyTorch's profiler: those of 120 steps less those of 20"""
    from torch.profiler import ProfilerActivity, profile

    import dlcourse

    words = (*QUIET, "report=false", "data.batch_size=8", f"trainer.accelerator={'cpu' if plan.small else 'gpu'}")
    activities = [ProfilerActivity.CPU] if plan.small else [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    counted = []
    for steps in (20, 120):
        with tempfile.TemporaryDirectory() as folder, profile(activities=activities) as profiled:
            dlcourse.run(*words, f"trainer.max_steps={steps}", f"run_dir={folder}/run")
        counted.append({event.key: event.count for event in profiled.key_averages()})
    events = {
        "copies to the host": "Memcpy DtoH",
        "copies to the device": "Memcpy HtoD",
        "waits": "cudaStreamSynchronize",
    }
    few, many = (
        {what: sum(n for key, n in each.items() if key.startswith(name)) for what, name in events.items()}
        for each in counted
    )
    return {"model=mlp": {what: (many[what] - few[what]) / 100 for what in events}}


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
    timed: bool = True  # has the machine to itself

    @property
    def title(self) -> str:
        return str(self.run.__doc__)


SECTIONS = {
    "mnist": Section(mnist, 40),
    "overhead": Section(overhead, 90),
    "sweep64": Section(sweep_of_64, 50),
    "bf16": Section(bf16, 60),
    "compile": Section(compiled, 60),
    "sweep1024": Section(sweep_of_1024, 100),
    "tests": Section(gpu_tests, 120, timed=False),
    "resume": Section(resume, 120, timed=False),
    "copies": Section(copies, 60, timed=False),
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
    began = time.monotonic()
    deadline = began + (3600 if dry else WHOLE)

    def one(name: str) -> Outcome:
        limit = min(SECTIONS[name].limit * (5 if dry else 1), deadline - time.monotonic())
        found = outcome(python("-m", "scripts.benchmarks.gpu", name, "small" if dry else "whole"), limit)
        tell(f"{name}: {found.failure or 'done'}, {found.seconds:.0f} s")
        return found

    outcomes = {name: one(name) for name, section in SECTIONS.items() if section.timed}
    together = [name for name in SECTIONS if name not in outcomes]
    with ThreadPoolExecutor(1 if dry else len(together)) as threads:
        outcomes |= zip(together, threads.map(one, together), strict=True)
    return {
        "date": date.today().isoformat(),
        "dry": dry,
        "card": card,
        "cuda": torch.version.cuda,
        "machine": machine(),
        "seconds": time.monotonic() - began,
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
    return f"{head}\n\n{shown}\n\n{notes}\n\n{result['seconds']:.0f} s in all, {result['date']}"


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
