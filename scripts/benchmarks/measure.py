"""Runs processes in turn, and takes medians and ratios of what they used and reported."""

import json
import os
import platform
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from dlcourse.config.groups import CHECKOUT
from dlcourse.runs.directory import environment

Measurements = dict[str, float]


class Failed(Exception):
    """A measured process that did not end as it should."""


@dataclass
class Sample:
    """One process: when it began, its wall clock, processor time and peak memory, what it printed, where it wrote."""

    began: float
    seconds: float
    cpu: float
    megabytes: float
    output: str
    folder: Path

    @property
    def reported(self) -> dict[str, Any]:
        """The JSON object in its last line, with the time at which it began; empty where there is none."""
        last = (self.output.splitlines() or [""])[-1]
        return {**json.loads(last), "began": self.began} if last.startswith("{") else {}

    def json(self, name: str) -> Any:
        """A file of its run directory."""
        text = (self.folder / name).read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)


@dataclass
class Contestant:
    """A command and the measurements of a run of it; {run} stands for a new directory, {seed} for the round."""

    name: str
    command: Sequence[str]
    measurements: Callable[[Sample], Measurements]
    needs: Sequence[str] = ()  # modules
    code: int = 0  # the exit code that it ends with
    env: dict[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        return [module for module in self.needs if find_spec(module) is None]


@dataclass
class Row:
    """A benchmark: its contestants, the number of rounds, the ratios to show, and notes below the table."""

    contestants: list[Contestant]
    rounds: int
    ratios: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # title: (measurement, of whom, over whom)
    notes: list[str] = field(default_factory=list)
    # Adds measurements that are computed over all rounds, from those of each round and what the processes reported.
    add_derived: Callable[[dict[str, list[Measurements]], dict[str, list[Any]]], None] | None = None


def python(*words: str) -> list[str]:
    return [sys.executable, *words]


def train(*words: str) -> list[str]:
    """Our own command, in a run directory of its own."""
    return python(str(CHECKOUT / "train.py"), "run_dir={run}", *words)


def import_path() -> str:
    """PYTHONPATH with the checkout, and with what it holds already: packages may lie there."""
    return os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))


def run(contestant: Contestant, seed: int, folder: Path) -> Sample:
    """One process, with a terminal as stderr: progress is drawn as a person would see it."""
    run_dir = folder / "run"
    command = [word.replace("{run}", str(run_dir)).replace("{seed}", str(seed)) for word in contestant.command]
    ours, theirs = pty.openpty()
    drawn: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(ours, drawn))
    reader.start()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        began = time.time()
        start = time.perf_counter()
        env = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": import_path()} | contestant.env
        process = subprocess.Popen(command, stdout=out, stderr=theirs, cwd=folder, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        os.close(theirs)
        reader.join()
        os.close(ours)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read()
    if process.returncode != contestant.code:
        told = b"".join(drawn).decode(errors="replace")[-2000:]
        raise Failed(f"{' '.join(command)} ended with {process.returncode}, not {contestant.code}\n{output}{told}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Sample(began, seconds, usage.ru_utime + usage.ru_stime, peak, output, run_dir)


def _drain(terminal: int, drawn: list[bytes]) -> None:
    """Read a terminal until its other end is closed (which Linux tells as an error)."""
    try:
        while part := os.read(terminal, 65536):
            drawn.append(part)
    except OSError:
        pass


def measure(name: str, row: Row, tell: Callable[[str], None]) -> dict[str, Any]:
    """All rounds, the contestants in turn in each; the result is what is kept as JSON."""
    skipped = {c.name: f"needs {', '.join(c.missing())}: pip install -e '.[bench]'" for c in row.contestants}
    skipped = {c.name: skipped[c.name] for c in row.contestants if c.missing()}
    measurements: dict[str, list[Measurements]] = {c.name: [] for c in row.contestants if c.name not in skipped}
    reported: dict[str, list[Any]] = {name: [] for name in measurements}
    for seed in range(row.rounds):
        for contestant in row.contestants:
            if contestant.name in skipped:
                continue
            with tempfile.TemporaryDirectory() as folder:
                sample = run(contestant, seed, Path(folder))
                measurements[contestant.name].append(contestant.measurements(sample))
                reported[contestant.name].append(sample.reported)
            shown = "  ".join(f"{key} {value:.4g}" for key, value in measurements[contestant.name][-1].items())
            tell(f"round {seed + 1}/{row.rounds}  {contestant.name}: {shown}")
    if row.add_derived:
        row.add_derived(measurements, reported)
    return {
        "benchmark": name,
        "date": date.today().isoformat(),
        "command": ["python", "scripts/benchmark.py", *sys.argv[1:]],
        "machine": machine(),
        "rounds": row.rounds,
        "measurements": measurements,
        "reported": reported,
        "ratios": {title: list(of) for title, of in row.ratios.items()},
        "notes": row.notes,
        "skipped": skipped,
    }


def machine() -> dict[str, Any]:
    """The processor, memory and versions that the measurements belong to."""
    told = environment("cpu", 0)
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = told["packages"] | {name: _version(name) for name in ("keras", "tensorflow_cpu", "onnxruntime")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model or platform.processor(),
        "cores": cores,
        "gibibytes": round(memory, 1),
        "platform": told["platform"],
        "python": told["python"],
        "packages": {name: found for name, found in packages.items() if found},
        "git": told["git"],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def ratio(result: dict[str, Any], measurement: str, of: str, over: str) -> list[float]:
    """A measurement of one contestant over that of another, round by round."""
    pairs = zip(result["measurements"].get(of, []), result["measurements"].get(over, []), strict=False)
    return [a[measurement] / b[measurement] for a, b in pairs if measurement in a and measurement in b]


def table(result: dict[str, Any]) -> str:
    """Medians with their spread, then the ratios (the median of the rounds' own), then what must be known."""
    from tabulate import tabulate

    columns = list(dict.fromkeys(key for rounds in result["measurements"].values() for each in rounds for key in each))
    rows = []
    for name, rounds in result["measurements"].items():
        cells = [spread([each[key] for each in rounds if key in each]) for key in columns]
        rows.append([name, *cells])
    rows += [[name, reason] for name, reason in result["skipped"].items()]
    text = [tabulate(rows, headers=["", *columns], disable_numparse=True)]
    shares = [[title, spread(values)] for title, of in result["ratios"].items() if (values := ratio(result, *of))]
    if shares:
        text.append(tabulate(shares, headers=["ratio", "median (lowest – highest)"], disable_numparse=True))
    text += [f"- {note}" for note in result["notes"]]
    told = result["machine"]
    packages = ", ".join(f"{name} {found}" for name, found in told["packages"].items())
    text.append(
        f"{result['rounds']} rounds, {result['date']}, {told['processor']}, {told['cores']} cores, "
        f"{told['gibibytes']} GiB; Python {told['python']}, {packages}\n{' '.join(result['command'])}"
    )
    return "\n\n".join(text)


def spread(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest value."""
    if not values:
        return ""
    if len(set(values)) == 1:
        return f"{values[0]:.4g}"
    return f"{median(values):.4g} ({min(values):.4g} – {max(values):.4g})"
