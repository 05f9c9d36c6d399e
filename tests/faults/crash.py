"""A, B: killed processes and damaged checkpoints, and the resume that follows."""

import http.server
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import torch

from tests.faults.process import Fault, kill_at_rename, send, stunt
from tests.faults.rows import CRASH, REFUSED, SILENT, SURVIVED, Outcome, Row, compared, judged
from tests.faults.subjects import Dlcourse, Subject

EPOCH = Dlcourse.epoch


def killed(subject: Subject, folder: Path, *, fault: Fault, code: int = -9, **wishes: Any) -> Outcome:
    """A fault, a resume: the end is that of the run that nothing befell."""
    straight, run = subject.straight(**wishes), folder / "run"
    done = subject.train(run, fault=replace(fault, step=-(-fault.step * subject.epoch // EPOCH)), **wishes)
    if done.code == 0 and code == -signal.SIGKILL:
        raise RuntimeError(f"the run ended before its step {fault.step}: nothing befell it")
    if done.code != code:
        return Outcome(CRASH if done.code else SILENT, done.code, f"expected exit code {code}\n{done.err}")
    return compared(subject, subject.resume(run, **wishes), run, straight)


def cut_off(subject: Subject, folder: Path, *, limit: int) -> Outcome:
    """The process dies at a byte of a checkpoint's write: one that loads is there, and a resume goes on from it."""
    run = folder / "run"
    done = subject.train(run, fault=Fault(EPOCH + 4, partial(stunt, limit, signal.SIGXFSZ)))
    if done.code != -signal.SIGXFSZ:
        raise RuntimeError(f"it ended with {done.code} and not inside a write: {done.err}")
    for path in subject.checkpoints(run):
        try:
            torch.load(path, weights_only=True)
        except Exception:
            continue
        done = subject.resume(run)
        return (
            judged(done, wrong=False)
            if done.code or subject.name != "dlcourse"
            else compared(subject, done, run, subject.straight())
        )
    return Outcome(SILENT, done.code, "no checkpoint loads")


def a(id: str, fault: str, step: int = EPOCH + 5, validating: bool = False, **wishes: Any) -> Row:
    return Row(id, fault, partial(killed, fault=Fault(step, validating=validating), **wishes), SURVIVED, 0)


def early(subject: Subject, folder: Path) -> Outcome:
    """A run that early stopping ends, killed before that."""
    wishes: dict[str, Any] = {"stop_early": 1, "lr": 0.05, "epochs": 12}
    last = torch.load(subject.checkpoints(subject.straight(**wishes))[0], weights_only=True)
    if last["global_step"] >= 12 * subject.epoch:
        raise RuntimeError("it trained to the end: there was no early stopping")
    return killed(subject, folder, fault=Fault(3 * EPOCH + 3), **wishes)


def finished(subject: Subject, folder: Path, *changes: str, **more: Any) -> Outcome:
    """A finished run is resumed, with or without changes: nothing would be right but a refusal."""
    run = folder / "run"
    subject.train(run)
    return judged(subject.resume(run, **more), *changes)


def changed(subject: Subject, folder: Path) -> Outcome:
    """A killed run is resumed with another learning rate, unasked."""
    run = folder / "run"
    subject.train(run, fault=Fault(EPOCH + 5))
    return judged(subject.resume(run, "optimizer.lr=0.5"), "optimizer.lr")


Damage = Callable[[Path], object]


def damaged(subject: Subject, folder: Path, *, damage: Damage, all_of_them: bool = False, **wishes: Any) -> Outcome:
    """The checkpoint is damaged after a kill; there may be an older one."""
    run, sound = folder / "run", folder / "sound"
    subject.train(run, fault=Fault(EPOCH + 6), dropout=0.3)
    copytree(run, sound)
    present = [path for path in subject.checkpoints(run) if path.exists()]
    for path in present if all_of_them else present[:1]:
        damage(path)
    done = subject.resume(run, dropout=0.3)
    if all_of_them:
        return judged(done, present[0])
    if done.code == 0 and present[0].name not in done.err:
        return Outcome(SILENT, 0, f"nothing said of {present[0]}")
    subject.resume(sound, dropout=0.3)  # as it would have gone on
    return compared(subject, done, run, sound)


def cut(share: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path: Path) -> None:
    """One bit of the weights, and nothing else."""
    weight = next(iter(v for v in torch.load(path, weights_only=True)["state_dict"].values() if v.numel() > 99))
    content = bytearray(path.read_bytes())
    at = content.index(weight.numpy().tobytes()[:64])
    content[at + 30] ^= 1 << 6
    path.write_bytes(content)


class Canary:
    """Pickled: a command that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def malicious(path: Path) -> None:
    torch.save({"state_dict": {}, "x": Canary(path.parent / "canary")}, path)


def hostile(subject: Subject, folder: Path) -> Outcome:
    run = folder / "run"
    subject.train(run, fault=Fault(EPOCH + 6))
    present = [path for path in subject.checkpoints(run) if path.exists()]
    for path in present:
        malicious(path)
    done = subject.resume(run)
    if any((path.parent / "canary").exists() for path in present):
        return Outcome(SILENT, done.code, "what was in the file was run")
    outcome = judged(done, present[0])
    return Outcome(SILENT, done.code, done.err) if "weights_only" in done.err and outcome.kind == REFUSED else outcome


def another(subject: Subject, folder: Path) -> Outcome:
    """Weights of a network with 16 hidden units for one with 8."""
    subject.train(folder / "run", epochs=1)
    shapes = ("(16, 64)", "(8, 64)") if subject.name == "dlcourse" else ("[16, 64]", "[8, 64]")
    word = {"dlcourse": f"init_from={folder / 'run'}"}.get(
        subject.name, f"resume={subject.checkpoints(folder / 'run')[0]}"
    )
    return judged(subject.train(folder / "other", word, hidden=8), *shapes)


def address(subject: Subject, folder: Path) -> Outcome:
    """A checkpoint at a web address, which would run what is in it."""
    malicious(folder / "evil.ckpt")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/evil.ckpt"
        done = subject.train(folder / "run", f"resume={url}" if subject.name != "dlcourse" else f"init_from={url}")
        server.shutdown()
    if (folder / "canary").exists():
        return Outcome(SILENT, done.code, "what was fetched was run")
    return judged(done, "127.0.0.1")


ROWS = [
    a("A1", "SIGKILL after an epoch", EPOCH + 1),
    a("A2", "SIGKILL after an epoch, with dropout", EPOCH + 1, dropout=0.3),
    a("A3", "SIGKILL after an epoch, with augmentation", EPOCH + 1, augment=True),
    *(a(f"A4-step-{k}", f"SIGKILL after step {k}", k, dropout=0.3) for k in (1, EPOCH + 1, 2 * EPOCH - 1, 3 * EPOCH)),
    a("A5", "SIGKILL in an epoch, with two data workers", workers=2, dropout=0.3, augment=True),
    a("A6", "SIGKILL during validation", 2 * EPOCH, validating=True, dropout=0.3),
    a("A7-accumulation", "SIGKILL with gradient accumulation", 9, accumulate=2),
    a("A7-one-cycle", "SIGKILL with a one-cycle schedule", schedule="one_cycle"),
    a("A7-plateau", "SIGKILL with a plateau schedule", 2 * EPOCH + 3, schedule="plateau", lr=0.05),
    Row("A8", "SIGKILL with early stopping", early, SURVIVED, 0),
    *(
        Row(
            f"A9-{signum.name}",
            signum.name,
            partial(killed, fault=Fault(EPOCH + 5, partial(send, signum)), code=128 + signum),
            SURVIVED,
            0,
        )
        for signum in (signal.SIGTERM, signal.SIGINT)
    ),
    Row("A10-finished", "resume of a finished run", finished),
    Row("A10-changed", "another learning rate on resume", changed),
    *(
        Row(
            f"B1-byte-{limit}",
            f"the process dies at byte {limit} of the write",
            partial(cut_off, limit=limit),
            SURVIVED,
            0,
        )
        for limit in (6000, 9000, 12000)
    ),
    *(
        Row(
            f"B1-rename-{number}",
            f"SIGKILL before a checkpoint takes its name, the {number}. time",
            partial(killed, fault=Fault(EPOCH + 4, partial(kill_at_rename, number))),
            SURVIVED,
            0,
        )
        for number in (1, 2)
    ),
    *(
        Row(f"B2-cut-{share}", f"checkpoint cut to {share:.0%}", partial(damaged, damage=cut(share)), SURVIVED, 0)
        for share in (0, 0.5, 0.99)
    ),
    Row("B2-all", "every checkpoint cut", partial(damaged, damage=cut(0.5), all_of_them=True), REFUSED, 4),
    Row("B3", "one bit of a weight flipped", partial(damaged, damage=flip), SURVIVED, 0),
    Row(
        "B3-all",
        "one bit of a weight flipped in every checkpoint",
        partial(damaged, damage=flip, all_of_them=True),
        REFUSED,
        4,
    ),
    Row("B4", "a malicious pickle for a checkpoint", hostile, REFUSED, 4),
    Row("B5", "weights of another architecture", another, REFUSED, 4),
    Row("B6", "a web address for a checkpoint", address),
]
