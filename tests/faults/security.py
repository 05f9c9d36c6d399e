"""C: attacks by words, by configurations and by the run directories of others."""

import re
from functools import partial
from pathlib import Path

from dlcourse.config.groups import CHECKOUT
from tests.faults.process import start
from tests.faults.rows import ABSENT, SILENT, SURVIVED, Outcome, Row, judged
from tests.faults.subjects import Subject

SECRET = "hunter2-correct-horse"
SECRETS = ("MY_API_KEY", "DB_PASSWORD", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_TOKEN")


def attacked(subject: Subject, folder: Path, *, words: list[str], named: str) -> Outcome:
    """Words that leave the file or folder ``canary`` behind if they work."""
    canary, module = folder / "canary", folder / "sideeffect.py"
    module.write_text(f"open({str(canary)!r}, 'w')\nclass X:\n    def __init__(*a, **k): pass\n")
    filled = [word.replace("CANARY", str(canary)) for word in words]
    done = subject.train(folder / "run", *filled, env={"PYTHONPATH": str(folder)}, epochs=1)
    if canary.exists():
        return Outcome(SILENT, done.code, "it was run")
    return judged(done, named, untrained=folder / "run")


def holders(folder: Path, secret: str) -> list[Path]:
    """The files in which a secret can be read."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def kept(subject: Subject, folder: Path) -> Outcome:
    """A whole run with its report and its W&B files, in an environment full of secrets: they are in none of them."""
    env = {name: f"{SECRET}-{name.lower()}-{'0' * 20}" for name in SECRETS}
    words = ["logger=wandb", "callbacks=default"] if subject.name == "dlcourse" else ["wandb=true"]
    done = subject.train(folder / "run", *words, epochs=1, env={**env, "WANDB_MODE": "offline"})
    if found := holders(folder, SECRET):
        return Outcome(SILENT, done.code, f"a secret was written: {found[0]}")
    return judged(done, wrong=False)


def told(subject: Subject, folder: Path) -> Outcome:
    """A word that copies a secret of the environment into the configuration."""
    word = "tags=['${oc.env:MY_API_KEY}']"
    done = subject.train(folder / "run", word, env={"MY_API_KEY": SECRET}, epochs=1)
    if holders(folder, SECRET):
        return Outcome(SILENT, done.code, "the secret was written")
    return judged(done, "MY_API_KEY", wrong=False)


#: Ways to a command in a callback's node; the second is text until it is built from, and a node then.
PLAIN = "_target_: os.system\n    command: touch {}"
ESCAPED = (
    "_target_: lightning.pytorch.callbacks.Timer\n"
    "    duration: '\\${{oc.create:{{_target_:os.system,command:touch {}}}}}'"
)


def foreign(subject: Subject, folder: Path, *, command: str, attack: str = PLAIN, named: str = "os.system") -> Outcome:
    """A run directory whose configuration names a command to run, as its receiver uses it."""
    run, canary = folder / "run", folder / "canary"
    if subject.name != "dlcourse" and command != "resume":
        return Outcome(ABSENT, 0)
    subject.train(run, epochs=1)
    path = run / ("config.yaml" if subject.name == "dlcourse" else ".hydra/config.yaml")
    node = f"\ncallbacks:\n  x:\n    {attack.format(canary)}\n"
    path.write_text(re.sub(r"\ncallbacks: *\{\}\n", lambda _: node, path.read_text()))
    if subject.name != "dlcourse":
        done = start(subject.script, ["--config-path", str(path.parent), f"run_dir={folder / 'again'}"]).end()
    elif command == "resume":
        done = subject.resume(run, "trainer.max_epochs=2")
    else:
        more = {"predict": [f"input={CHECKOUT}/README.md"], "export": ["format=onnx"]}.get(command, [])
        done = start(CHECKOUT / "scripts" / f"{command}.py", [f"run={run}", *more]).end()
    if canary.exists():
        return Outcome(SILENT, done.code, "it was run")
    return judged(done, named)


def target(name: str, *words: str) -> Row:
    words = (f"+callbacks.x._target_={name}", *(f"+callbacks.x.{word}" for word in words))
    return Row(f"C1-{name}", f"_target_: {name}", partial(attacked, words=list(words), named=name))


ROWS = [
    target("os.system", "command='touch CANARY'"),
    target("subprocess.check_call", "args=[touch,CANARY]"),
    target("sideeffect.X"),
    target("importlib.import_module", "name=sideeffect"),
    target("runpy.run_module", "mod_name=sideeffect"),
    target("lightning.pytorch.loggers.csv_logs.os.makedirs", "name=CANARY"),
    target("torch.optim.optimizer.torch.save", "obj=1", "f=CANARY"),
    Row(
        "C1-escaped",
        "a node that is text when it is judged",
        partial(
            attacked,
            words=[
                "+callbacks.x._target_=lightning.pytorch.callbacks.Timer",
                r"+callbacks.x.duration='\${oc.create:{_target_:os.system,command:touch CANARY}}'",
            ],
            named="oc.create",
        ),
    ),
    *(
        Row(f"C2-{name}", f"hydra.*: {name}", partial(attacked, words=words, named=words[0].lstrip("+").split("=")[0]))
        for name, words in {
            "callbacks": ["+hydra.callbacks.x._target_=sideeffect.X"],
            "logging-class": ["+hydra.job_logging.handlers.x.class=sideeffect.X"],
            "logging-file": ["hydra.job_logging.handlers.file.filename=CANARY"],
            "launcher": ["hydra.launcher._target_=sideeffect.X"],
            "searchpath": ["hydra.searchpath=[pkg://sideeffect]"],
        }.items()
    ),
    Row("C3", "a secret of the environment in the configuration", told),
    Row("C3-kept", "an environment full of secrets", kept, SURVIVED, 0),
    *(
        Row(f"C4-{command}", f"{command} of somebody else's run directory", partial(foreign, command=command))
        for command in ("resume", "evaluate", "predict", "export")
    ),
    Row(
        "C4-escaped",
        "resume of one with a node that is text when it is judged",
        partial(foreign, command="resume", attack=ESCAPED, named="callbacks.x.duration"),
    ),
]
