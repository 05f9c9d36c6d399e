"""What is measured: for each name, who takes part and which measurements count."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dlcourse.config.groups import CHECKOUT

from .measure import Contestant, Measurements, Row, Sample, python, train

BOUND = 0.99  # test accuracy on MNIST
QUIET = ("logger=none", "callbacks=none")


class Plan:
    """What a person chose: how many rounds (None: the row's own), which peers, small sizes, and where the data lie."""

    def __init__(self, rounds: int | None, peers: Sequence[str], small: bool, whole: bool, data: Path):
        self.rounds, self.peers, self.small, self.whole, self.data = rounds, peers, small, whole, data
        self.rows = ["640"] if small else []  # of the training set, for the loops that are not ours
        self.ours = ["data.val_fraction=0.9", "trainer.limit_train_batches=5"] if small else []
        self.env = {"DLCOURSE_DATA_DIR": str(data)}

    def row(self, contestants: list[Contestant], rounds: int, **rest: Any) -> Row:
        for contestant in contestants:
            contestant.env |= self.env
        chosen = [c for c in contestants if c.name not in PEERS or c.name in self.peers]
        return Row(chosen, self.rounds or (1 if self.small else rounds), **rest)


PEERS = ("keras", "pytorch", "one_by_one")


def peer(module: str, *words: str) -> list[str]:
    return python("-m", f"scripts.benchmarks.peers.{module}", *words)


def keras(plan: Plan, epochs: int, stop: str, measurements: Callable[[Sample], Measurements]) -> Contestant:
    words = (str(plan.data), str(epochs), "{seed}", stop, *plan.rows)
    return Contestant("keras", peer("keras_convnet", *words), measurements, needs=("keras", "tensorflow"))


def loop(plan: Plan, name: str, what: str, epochs: int, measurements: Callable[[Sample], Measurements]) -> Contestant:
    rows = plan.rows if what == "mnist" else []
    return Contestant(name, peer("loop", what, str(plan.data), str(epochs), "{seed}", *rows), measurements)


def time_to_accuracy(plan: Plan) -> Row:
    """From the start of the process to weights that have 99 % on MNIST's test set, each by its own recipe."""

    def ours(sample: Sample) -> Measurements:
        metrics = sample.json("metrics.json")
        weights = (sample.folder / "checkpoints" / "best.ckpt").stat().st_mtime
        return {"seconds": weights - sample.began, "test/acc": metrics["test/acc"], "whole process": sample.seconds}

    def theirs(sample: Sample) -> Measurements:
        return {"test/acc": sample.reported["epochs"][-1]["test/acc"], "whole process": sample.seconds}

    def add_derived(measurements: dict[str, list[Measurements]], reported: dict[str, list[Any]]) -> None:
        for name in ("keras", "pytorch"):
            if name in measurements:
                bound = min(BOUND, median(each["test/acc"] for each in measurements[name]))
                for each, told in zip(measurements[name], reported[name], strict=True):
                    reached = [e for e in told["epochs"] if e["test/acc"] >= bound] or told["epochs"][-1:]
                    each["seconds"] = reached[0]["time"] - told["began"]
                    each["epochs"] = told["epochs"].index(reached[0]) + 1

    epochs = ("1", "1") if plan.small else ("15", "14")
    stop = "2" if plan.whole else str(BOUND)
    words = (str(plan.data), epochs[1], "{seed}", stop, *plan.rows)
    return plan.row(
        [
            Contestant("dlcourse", train("experiment=mnist_speedrun", "seed={seed}", *QUIET, *plan.ours), ours),
            keras(plan, int(epochs[0]), "2", theirs),
            Contestant("pytorch", peer("pytorch_basic", *words), theirs),
        ],
        rounds=5,
        ratios={f"{name} / dlcourse": ("seconds", name, "dlcourse") for name in ("keras", "pytorch")},
        add_derived=add_derived,
        notes=[
            "dlcourse: python train.py experiment=mnist_speedrun, one fixed epoch; the time is that of the weights' "
            "file, which validation chooses.",
            "A peer's time is the end of the first epoch of its own schedule that reaches the bound: the lower of "
            "0.99 and the median of its last accuracies. This compares results, not frameworks.",
            "pytorch ends at its first epoch of 0.99; --whole trains all 14." if not plan.whole else "All epochs.",
        ],
    )


def best_accuracy(plan: Plan) -> Row:
    """One network, a few minutes, chosen on validation rows."""

    def measurements(sample: Sample) -> Measurements:
        metrics = sample.json("metrics.json")
        return {"test/acc": metrics["test/acc"], "val/acc": metrics["val/acc"], "seconds": sample.seconds}

    command = train("experiment=mnist_best", "seed={seed}", *QUIET, *plan.ours, *["trainer.max_epochs=1"] * plan.small)
    return plan.row([Contestant("dlcourse", command, measurements)], rounds=3)


def epoch_seconds(sample: Sample) -> float:
    """Seconds of one of our epochs after the first, validation and checkpoints included."""
    rows = sample.json("timing.jsonl")
    return (rows[-1]["seconds"] - rows[0]["seconds"]) / (len(rows) - 1)


def reported_seconds(sample: Sample) -> float:
    """The same for a loop that says when its epochs ended."""
    times = [epoch["time"] for epoch in sample.reported["epochs"]]
    return (times[-1] - times[0]) / (len(times) - 1)


KERAS_NET = (
    "data=mnist",
    "data.batch_size=128",
    "model=cnn",
    "model.channels=[32,64]",
    "model.hidden=[]",
    "model.padding=0",
    "model.norm=null",
    "model.dropout=0.5",
    "scheduler=constant",
)


def throughput(plan: Plan) -> Row:
    """Pictures a second while Keras's convnet trains at batch 128, and how much of the machine that is."""
    epochs = 2 if plan.small else 3

    def ours(sample: Sample) -> Measurements:
        rows = sample.json("metrics.json")["steps"] / epochs * 128 if plan.small else 54000
        return {"images/s": rows / epoch_seconds(sample)}

    def theirs(sample: Sample) -> Measurements:
        measurements = {"images/s": sample.reported["rows"] / reported_seconds(sample)}
        return measurements | {key: sample.reported[key] for key in ("operations",) if key in sample.reported}

    def add_derived(measurements: dict[str, list[Measurements]], reported: dict[str, list[Any]]) -> None:
        for k, peak in enumerate(measurements["matmul"]):
            needed = measurements["loop"][k].pop("operations")
            for name in ("dlcourse", "loop", *(["keras"] if "keras" in measurements else [])):
                measurements[name][k]["share of peak"] = (
                    measurements[name][k]["images/s"] * needed / (peak["GFLOP/s"] * 1e9)
                )

    return plan.row(
        [
            Contestant("dlcourse", train(*KERAS_NET, f"trainer.max_epochs={epochs}", "logger=csv", *plan.ours), ours),
            loop(plan, "loop", "mnist", epochs, theirs),
            keras(plan, epochs, "2", theirs),
            Contestant("matmul", peer("matmul"), lambda s: {"GFLOP/s": s.reported["operations_per_s"] / 1e9}),
        ],
        rounds=5,
        ratios={
            "dlcourse / loop": ("images/s", "dlcourse", "loop"),
            "dlcourse / keras": ("images/s", "dlcourse", "keras"),
        },
        add_derived=add_derived,
        notes=[
            "Epochs after the first, with their validation; PyTorch counts the operations of a step, the peak is "
            "that of a 2048 × 2048 fp32 matrix product.",
        ],
    )


def pictures(plan: Plan) -> Row:
    """Pictures a second while a U-Net, a detector and a residual network train at batch 32."""
    epochs, n = (2, 200) if plan.small else (3, 1000)
    train_rows = n - round(0.1 * n)
    scenes = (f"data.n_samples={n}", "data.n_test_samples=20")
    a_tenth = f"data.val_fraction={0.1 * n / 60_000:.8f}"
    networks = {  # the data, and the words for n samples of it, a tenth of them for validation
        "unet": ("scene_masks", scenes),
        "detector": ("scenes", scenes),
        "resnet": ("mnist", (f"data.train_samples={train_rows}", a_tenth, "model.channels=[16,32,64]")),
    }

    def ours(sample: Sample) -> Measurements:
        return {"pictures/s": train_rows / epoch_seconds(sample)}

    def theirs(sample: Sample) -> Measurements:
        return {"pictures/s": sample.reported["rows"] / reported_seconds(sample)}

    def both(name: str) -> list[Contestant]:
        data, some = networks[name]
        words = (
            *(f"model={name}", f"data={data}", *some, "data.batch_size=32", "scheduler=constant"),
            *(f"trainer.max_epochs={epochs}", "logger=csv"),
        )
        prepared = f"{data} model={name} {some[0]}"
        subprocess.run(python("-m", "scripts.benchmarks.prepare", str(plan.data), prepared), cwd=CHECKOUT, check=True)
        peers = peer("pictures_loop", name, str(plan.data), str(n), str(epochs), "{seed}")
        return [Contestant(f"dlcourse, {name}", train(*words), ours), Contestant(f"loop, {name}", peers, theirs)]

    return plan.row(
        [contestant for name in networks for contestant in both(name)],
        rounds=5,
        ratios={f"dlcourse / loop, {name}": ("pictures/s", f"dlcourse, {name}", f"loop, {name}") for name in networks},
        notes=["Epochs after the first, with their validation. loop: the same network and loss in plain PyTorch."],
    )


MLP = ("model.hidden=[32]", "data.batch_size=32")


def step_overhead(plan: Plan) -> Row:
    """A step of a small network: logging, metrics, checkpoints, progress and validation against a bare loop."""
    epochs = 3 if plan.small else 60

    def ours(sample: Sample) -> Measurements:
        rows = sample.json("timing.jsonl")
        steps = (rows[-1]["step"] - rows[0]["step"]) / (len(rows) - 1)
        return {"µs a step": 1e6 * epoch_seconds(sample) / steps}

    def theirs(sample: Sample) -> Measurements:
        return {"µs a step": 1e6 * reported_seconds(sample) / sample.reported["steps"]}

    words = (*MLP, f"trainer.max_epochs={epochs}")
    rare = f"trainer.check_val_every_n_epoch={epochs}"
    names = ("dlcourse", "dlcourse with W&B", "dlcourse, one validation")
    loops = ("loop", "loop, fused")
    return plan.row(
        [
            Contestant(names[0], train(*words, "logger=csv"), ours),
            Contestant(names[1], train(*words, "logger=wandb"), ours),
            Contestant(names[2], train(*words, "logger=csv", rare), ours),
            loop(plan, loops[0], "digits", epochs, theirs),
            loop(plan, loops[1], "digits_fused", epochs, theirs),
        ],
        rounds=7,
        ratios={f"{of} / {over}": ("µs a step", of, over) for over in loops for of in names},
        notes=[
            "Epochs of 41 (the loops: 51) steps after the first, their ends included: validation on both sides, for "
            "dlcourse also checkpoints. “one validation” validates, and so writes best.ckpt, at the end only.",
            "loop: Adam as torch.optim makes it by default; fused: as dlcourse does.",
        ],
    )


def startup(plan: Plan) -> Row:
    """From the start of a process: help, a refusal, the first optimizer step, a whole run of one step."""

    def whole(sample: Sample) -> Measurements:
        return {"seconds": sample.seconds}

    def first(sample: Sample) -> Measurements:
        told = next(line for line in sample.output.splitlines() if line.startswith('{"first_step"'))
        return {"first step": json.loads(told)["first_step"] - sample.began, "seconds": sample.seconds}

    clock = "+callbacks.clock._target_=scripts.benchmarks.clock.Clock"
    one = ("trainer.max_steps=1", clock, "allow=[scripts.benchmarks]")
    base = "import torch"
    return plan.row(
        [
            Contestant(base, python("-c", "import torch"), whole),
            Contestant("--help", python(*train("--help")[1:2], "--help"), whole),
            Contestant("refusal", train("optimizer.lr=fast"), whole, code=2),
            Contestant("one step, csv", train(*one, "logger=csv"), first),
            Contestant("one step, W&B", train(*one, "logger=wandb"), first),
        ],
        rounds=9,
        ratios={
            "help": ("seconds", "--help", base),
            "refusal": ("seconds", "refusal", base),
            "first step, csv": ("first step / import", "one step, csv", base),
            "first step, W&B": ("first step / import", "one step, W&B", base),
            "whole run with report": ("seconds", "one step, csv", base),
        },
        add_derived=_first_over_import,
        notes=["Every ratio is over python -c “import torch” of the same round."],
    )


def _first_over_import(measurements: dict[str, list[Measurements]], reported: dict[str, list[Any]]) -> None:
    for name, rounds in measurements.items():
        for each in rounds:
            each["first step / import"] = each["seconds"] if name == "import torch" else each.get("first step", 0.0)
            if not each["first step / import"]:
                del each["first step / import"]


def memory(plan: Plan) -> Row:
    """Peak resident memory of a process."""

    def peak(sample: Sample) -> Measurements:
        return {"MiB": sample.megabytes}

    epochs = 2
    digits = train(*MLP, f"trainer.max_epochs={epochs}", "logger=csv")
    mnist = train(*KERAS_NET, "trainer.max_epochs=1", "logger=csv", *plan.ours)
    return plan.row(
        [
            Contestant("dlcourse, digits", digits, peak),
            loop(plan, "loop, digits", "digits", epochs, peak),
            Contestant("dlcourse, mnist", mnist, peak),
            loop(plan, "loop, mnist", "mnist", 1, peak),
        ],
        rounds=3,
        ratios={name: ("MiB", f"dlcourse, {name}", f"loop, {name}") for name in ("digits", "mnist")},
        notes=["The largest single process, as the operating system counts it."],
    )


def scaling(plan: Plan) -> Row:
    """Time an epoch as the data grow, and pictures a second as processes do."""
    sizes = (1, 2) if plan.small else (1, 2, 4, 8, 16)
    base = 500 if plan.small else 10_000

    def grown(size: int) -> Contestant:
        words = ("data=moons", f"data.n_samples={size * base}", "model.hidden=[32]", "trainer.max_epochs=3")
        return Contestant(f"{size}× rows", train(*words, "logger=csv"), lambda s: {"seconds": epoch_seconds(s)})

    def processes(n: int) -> Contestant:
        batches = (8 if plan.small else 200) // n
        words = (*KERAS_NET, "trainer.max_epochs=3", f"trainer.limit_train_batches={batches}", "logger=csv")
        ddp = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={n}") if n > 1 else ()
        rows = batches * n * 128
        return Contestant(
            f"{n} process{'es' * (n > 1)}",
            train(*ddp, *words, f"data.val_fraction={0.01 if plan.small else 2844 / 60000}"),  # as many as the loops
            lambda s: {"images/s": rows / epoch_seconds(s)},
            env={"OMP_NUM_THREADS": "1"},
        )

    def loops(n: int) -> Contestant:
        """The same network in a loop in plain PyTorch, so that what the machine and PyTorch take is told apart."""
        rows = "2000" if plan.small else "28444"  # nine tenths of them are trained on
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}") if n > 1 else ()
        return Contestant(
            f"{n} process{'es' * (n > 1)}, loop",
            python(*torchrun, "-m", "scripts.benchmarks.peers.loop", "mnist", str(plan.data), "3", "{seed}", rows),
            lambda s: {"images/s": s.reported["rows"] / reported_seconds(s)},
            env={"OMP_NUM_THREADS": "1"},
        )

    def add_derived(measurements: dict[str, list[Measurements]], reported: dict[str, list[Any]]) -> None:
        for size in sizes:
            for k, each in enumerate(measurements[f"{size}× rows"]):
                each["over linear"] = each["seconds"] / size / measurements["1× rows"][k]["seconds"]
        for kind in ("", ", loop"):
            for k, each in enumerate(measurements[f"2 processes{kind}"]):
                gain = each["images/s"] / measurements[f"1 process{kind}"][k]["images/s"]
                each["speed-up"], each["serial share"] = gain, 2 / gain - 1  # Amdahl's law, solved for the share

    return plan.row(
        [*map(grown, sizes), *(make(n) for n in (1, 2) for make in (processes, loops))],
        rounds=3,
        ratios={"dlcourse / loop, 2 processes": ("images/s", "2 processes", "2 processes, loop")},
        add_derived=add_derived,
        notes=[
            "Epochs after the first; processes of one thread each, batches of 128 in each process. loop: plain "
            "PyTorch with DistributedDataParallel, validation included.",
        ],
    )


def spread_rates(count: int) -> str:
    """Learning rates from 1e-4 to 0.1 at equal ratios, as a word lists them."""
    return ",".join(f"{10 ** (-4 + 3 * k / max(count - 1, 15)):.5f}" for k in range(count))


def digits_trials(rates: str, seeds: int, epochs: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of all trials of a digits MLP, and those with the values that differ."""
    words = ("model.hidden=[32]", f"trainer.max_epochs={epochs}", "logger=csv", "callbacks=none")
    return words, (f"optimizer.lr={rates}", f"seed={','.join(map(str, range(seeds)))}")


def multirun(name: str, *words: str) -> Contestant:
    def measurements(sample: Sample) -> Measurements:
        accuracies = [row["test/acc"] for row in sample.json("sweep.jsonl")]
        return {"seconds": sample.seconds, "trials": len(accuracies), "median test/acc": median(accuracies)}

    return Contestant(name, python(str(CHECKOUT / "train.py"), "-m", *words, "sweep_dir={run}"), measurements)


def sweep(plan: Plan) -> Row:
    """64 trials, 16 learning rates by 4 seeds, of a digits MLP: together, side by side, one by one, and by Optuna."""
    epochs, seeds = ("2", "2") if plan.small else ("100", "4")
    rates = spread_rates(2 if plan.small else 16)
    words, varied = digits_trials(rates, int(seeds), int(epochs))

    def told(sample: Sample) -> Measurements:
        accuracies = sample.reported["test/acc"]
        return {"seconds": sample.seconds, "trials": len(accuracies), "median test/acc": median(accuracies)}

    optuna = [
        Contestant(f"Optuna, {how}", peer("optuna_loop", str(plan.data), epochs, seeds, rates, how), told)
        for how in ("loop", "fused loop")
    ]
    alone = Contestant("one_by_one", peer("one_by_one", "{run}", rates, seeds, *words, "report=false"), told)
    together = multirun("vectorized", "hydra/launcher=vectorized", *words, *varied, "sweep.workers=2")
    return plan.row(
        [together, multirun("processes", *words, *varied, "sweep.workers=2"), alone, *optuna],
        rounds=3,
        ratios={f"{c.name} / vectorized": ("seconds", c.name, "vectorized") for c in (alone, *optuna)},
        notes=[
            f"64-32-10, {epochs} epochs of 41 steps, validated after each; the whole process. vectorized, processes: "
            "python train.py -m …, two processes; one_by_one: a command for each trial. Optuna: its grid in one "
            "process around a loop in plain PyTorch, Adam as tutorials write it, or fused.",
        ],
    )


def inference(plan: Plan) -> Row:
    """Milliseconds a prediction, batches of 1 and of 256."""
    seconds, steps = ("0.2", "trainer.max_steps=5") if plan.small else ("5", "trainer.max_epochs=1")
    command = python("-m", "scripts.benchmarks.inference", str(plan.data / "run"), seconds, steps)
    return plan.row(
        [
            Contestant(
                "model=cnn on MNIST, ms",
                command,
                lambda s: {key: value for key, value in s.reported.items() if key != "began"},
            )
        ],
        rounds=3,
        notes=["The median of single calls, the ways in turn in one process, raw pictures to probabilities."],
    )


def table(plan: Plan) -> Row:
    """A person's table, from its file to the first step: processor time and memory beyond those of 60 rows."""
    rows = {"CSV": 2_000, "Parquet": 4_000} if plan.small else {"CSV": 1_000_000, "Parquet": 10_000_000}
    widths = {"CSV": 6, "Parquet": 9}  # numbers, besides the target
    files = {}
    for form, count in rows.items():
        for name, n in (("60 rows", 60), (form, count)):
            files[form, name] = plan.data / f"{name}.{form.lower()}"
            cells = ", ".join(
                f"(random() * 1000)::decimal(12, 4)::{KINDS_OF[form]} as x{k}" for k in range(widths[form])
            )
            sql = f"copy (select {cells}, random()::{KINDS_OF[form]} as y from range({n})) to '{files[form, name]}'"
            subprocess.run(python("-c", MAKE_FILE, sql), check=True)

    def used(sample: Sample) -> Measurements:
        return {"CPU s": sample.cpu, "MiB": sample.megabytes}

    def ours(form: str, name: str) -> Contestant:
        words = (f"data.path='{files[form, name]}'", "data.target=y", "trainer.max_steps=1", *NO_EVALUATION, *QUIET)
        return Contestant(f"dlcourse, {name} of {form}", train("data=table", *words, "report=false"), used)

    def theirs(library: str, form: str) -> Contestant:
        command = peer("table", library, str(files[form, form]))
        needs = (library, "pyarrow") if (library, form) == ("pandas", "Parquet") else (library,)
        return Contestant(f"{library}, {form}", command, used, needs=needs)

    def add_derived(measurements: dict[str, list[Measurements]], reported: dict[str, list[Any]]) -> None:
        for form, count in rows.items():
            arrays = count * (widths[form] + 1) * 4 / 2**20  # float32, as trained on
            small = measurements[f"dlcourse, 60 rows of {form}"]
            for each, base in zip(measurements[f"dlcourse, {form} of {form}"], small, strict=True):
                each["CPU s beyond start"] = each["CPU s"] - base["CPU s"]
                each["MiB beyond start"] = each["MiB"] - base["MiB"]
                each["MiB / arrays"] = each["MiB beyond start"] / arrays

    return plan.row(
        [
            contestant
            for form in rows
            for contestant in (
                *(ours(form, name) for name in ("60 rows", form)),
                *(theirs(library, form) for library in ("pandas", "polars")),
            )
        ],
        rounds=3,
        add_derived=None if plan.small else add_derived,  # differences of small sizes may be below zero
        notes=[
            f"CSV: {rows['CSV']:,} rows of 6 numbers; Parquet: {rows['Parquet']:,} of 9; and the value to predict. "
            "dlcourse: python train.py data=table …, one step; columns are profiled, rows checked and divided. pandas "
            "and Polars only read the file into a float32 array, in a process that imports nothing else.",
        ],
    )


MAKE_FILE = "import duckdb, sys; duckdb.execute('set enable_progress_bar = false'); duckdb.execute(sys.argv[1])"
KINDS_OF = {"CSV": "decimal(12, 4)", "Parquet": "double"}
NO_EVALUATION = ("trainer.limit_val_batches=1", "trainer.limit_test_batches=1")

ROWS = {
    row.__name__: row
    for row in (
        *(time_to_accuracy, best_accuracy, throughput, pictures, step_overhead),
        *(startup, memory, scaling, sweep, inference, table),
    )
}
