"""Shared by all commands: overrides, exit codes, and the summary at the end."""

import gc
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlcourse.errors import Interrupted, Refused, explain, printable

if TYPE_CHECKING:
    from dlcourse.config.overrides import Overrides


def guarded(command: Callable[[list[str]], int]) -> int:
    """Run a command; a refusal prints at most three lines and returns its code, other errors a traceback and 1."""
    words = sys.argv[1:]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    gc.disable()  # imports create a million permanent objects: scanning them would take a fifth of the start
    try:
        return command(words)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Interrupted as stop:
        print("; ".join([f"stopped by {stop}", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        return stop.code
    except Exception as error:
        known = explain(error)
        if known is None or "debug.traceback=true" in words:
            traceback.print_exc()
        if known is None:
            return 1
        print("\n".join(printable(str(known)).splitlines()[:3]), file=sys.stderr)
        return known.code


def train(words: list[str]) -> int:
    """``python train.py``: a run, a multirun, or one of Hydra's own flags."""
    from dlcourse.config.gate import compose_checked
    from dlcourse.config.groups import help_text
    from dlcourse.config.overrides import Overrides

    flags = hydra_flags(words)
    folder = [f"hydra.searchpath=['{os.path.abspath(flags.config_dir)}']"] if flags.config_dir else []
    overrides = Overrides.parse([*flags.overrides, *folder])
    as_parsed = dict(zip(flags.overrides, overrides.texts, strict=False))
    sys.argv = [as_parsed.get(word, word) for word in sys.argv]  # Hydra reads it again, and so do other processes
    if folder and "config_dir" not in overrides.packages:
        raise Refused("--config-dir reads configuration files from elsewhere; if they are yours: 'allow=[config_dir]'")
    for name in ("experimental_rerun", "config_path", "config_name"):
        if getattr(flags, name):
            raise Refused(f"--{name.replace('_', '-')} is not accepted: a run is described by overrides and by conf/")
    if flags.shell_completion:
        asked = os.environ.get("COMP_LINE", "")
        return 0 if "hydra" in asked else hydra(lambda cfg: None)
    if flags.help:
        if overrides.parsed:  # a wrong one is what help is asked for
            compose_checked(overrides)
        print(help_text(overrides.groups))
        return 0
    if flags.hydra_help:
        compose_checked(overrides)
        return hydra(lambda cfg: None)
    shown = flags.cfg or flags.info is not None
    if flags.multirun and shown:
        raise Refused("--cfg and --info show the configuration of one run; leave -m out")
    if flags.multirun:
        return multirun(overrides)
    from dlcourse.runs.resume import new_or_resumed_run

    composed, continued = new_or_resumed_run(overrides)
    if shown:
        return hydra(lambda cfg: None)
    if composed.multirun:
        return multirun(overrides)
    from dlcourse.report import build_report
    from dlcourse.runs.fit import train as run

    return print_summary(run(composed, continued, build_report), composed.tree)


def hydra_flags(words: list[str]) -> Any:
    """The command line as Hydra reads it."""
    from dlcourse.internals import command_line_parser

    parser = command_line_parser()

    def refuse(message: str) -> None:
        raise Refused(f"{message} (python train.py --help)")

    parser.error = refuse  # type: ignore[method-assign, assignment]
    return parser.parse_args(words)


def hydra(task: Callable[[Any], Any]) -> int:
    """Pass the command line to Hydra: help, completion, printed configurations, and multiruns."""
    from hydra import main

    from dlcourse.config.groups import CONF

    main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    return 0


def multirun(overrides: "Overrides") -> int:
    """Run every trial in its own directory; one that fails does not stop the others."""
    from dlcourse.config.gate import compose_checked_multirun
    from dlcourse.config.own_text import quoted

    composed = compose_checked_multirun(overrides)
    from dlcourse.sweeps.trials import Sweep

    sweep = Sweep(overrides, composed.tree)
    with sweep.lock():
        # Cluster launchers write into the sweep's directory.
        sys.argv[1:] = ["--multirun", *overrides.texts, quoted("hydra.sweep.dir", sweep.folder)]
        hydra(sweep.trial)
        return sweep.finish()


def parse_script_overrides(words: list[str], *known: str, groups: tuple[str, ...] = ()) -> "Overrides":
    """The overrides of a script; a key that it does not know is refused."""
    from dlcourse.config.overrides import Overrides
    from dlcourse.config.suggestions import nearest

    if {"--help", "-h"} & set(words):
        print(sys.modules["__main__"].__doc__)
        raise SystemExit(0)
    if bare := next((word for word in words if "=" not in word), None):
        listed = ", ".join(f"{key}=" for key in (*known, *groups))
        raise Refused(f"{bare if bare.isprintable() else repr(bare)}: expected key=value. There are: {listed}")
    overrides = Overrides.parse(words)
    for override in overrides.parsed:
        key = override.key_or_group
        if key not in (*known, "allow", "debug.traceback") and not key.startswith(groups or ("\0",)):
            raise Refused(f"{key}: no such key here{nearest(key, known)}\nThere are: {', '.join(known)}")
    overrides.check_single()
    return overrides


def table(metrics: dict[str, float], note: str | None) -> None:
    """Print the test metrics and measurements, with the data's note."""
    from tabulate import tabulate

    rows = [(name, f"{value:.4f}") for name, value in metrics.items() if name.startswith("test/")]
    # The report plots the numbered ones.
    measured = [name for name in metrics if name.startswith("measure/") and not name.rpartition("/")[2].isdigit()]
    rows += [(name, f"{metrics[name]:.4g}") for name in measured]
    head = f"value ({note})" if note else "value"
    print(tabulate(rows, headers=["metric", head], disable_numparse=True, colalign=("left", "right")))


def print_summary(result: Any, tree: dict[str, Any]) -> int:
    """Print the last lines on stdout: test metrics, expectations, then the paths.

    Only on the first process.
    """
    from dlcourse.config import claims
    from dlcourse.runs.building import first_process
    from dlcourse.runs.directory import from_here

    if first_process():
        print(f"best weights: epoch {result.metrics['best_epoch'] + 1} of {result.metrics['epochs']}")
        table(result.metrics, result.data.note)
        if verdicts := claims.judge_run(tree.get("expect") or (), result.metrics):
            print(claims.table(tree["claim"], verdicts))
        print(f"run: {from_here(result.run_dir)}")
        if (page := result.run_dir / "report.html").exists():
            print(f"report: {from_here(page)}", flush=True)
    return 0
