"""Words of hydra.*: those that could run or write something are refused."""

import pytest

from dlcourse.config.gate import (
    check_overrides,
)
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from tests.composing import checked, checked_multirun
from tests.refusing import refusal


@pytest.mark.parametrize(
    "word",
    [
        "hydra.callbacks={}",
        "+hydra.callbacks.x._target_=os.system",
        "++hydra.callbacks={x:{_target_:os.system}}",
        "hydra/callbacks=x",
        "+callbacks@hydra.callbacks=default",
        "+model@hydra.callbacks.x=mlp",
        "hydra/job_logging=default",
        "hydra/hydra_logging=default",
        "hydra.job_logging.version=1",
        "+hydra.job_logging.handlers.x.class=antigravity.X",
        "+hydra.job_logging={handlers:{x:{'()':os.system}}}",
        "+hydra.hydra_logging={handlers:{x:{class:antigravity.X}}}",
        "hydra.job.env_set={A:b}",
        "+hydra.job.env_set.LD_PRELOAD=x.so",
        "hydra.job.env_copy=[A]",
        "hydra.job.chdir=true",
        "hydra.searchpath=[file:///tmp]",
        "hydra=null",
        "~hydra",
        "~hydra.callbacks",
        "hydra.help.template=x",
        "hydra.runtime.cwd=/",
        "hydra.overrides.task=[]",
        "+hydra.x=1",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+hydra.sweeper.x._target_=os.system",
        "+hydra.sweeper.x={_target_:os.system,command:id}",
        "+hydra.sweeper.x=[{_target_:os.system}]",
        "+hydra.launcher.x={_target_:os.system}",
        "+hydra.launcher.setup=[reboot]",
        "+hydra.launcher.a.runtime_env={}",
        "hydra.sweep={dir:x}",
        "hydra.run={dir:x}",
    ],
)
def test_words_of_hydra_that_could_run_or_write_something_are_refused(word):
    refusal(checked, [word])
    refusal(checked_multirun, [word, "seed=1,2"])


@pytest.mark.parametrize(
    "word",
    [
        "hydra.run.dir=x",
        "hydra.sweep.dir=x",
        "hydra.sweep.subdir=x",
        "hydra.job.name=x",
        "hydra.output_subdir=null",
        "hydra.mode=RUN",
        "hydra.verbose=false",
        "hydra/launcher=vectorized",
        "hydra/sweeper=trials",
        "hydra.sweeper.sampler=null",
    ],
)
def test_words_of_hydra_that_people_and_lightning_need(word):
    assert "hydra" not in checked([word]).cfg


def test_shell_fragments_of_launchers_need_a_word_of_their_own():
    refusal(check_overrides, Overrides.parse(["hydra.launcher.setup=[reboot]"]))
    check_overrides(Overrides.parse(["hydra.launcher.setup=[reboot]", "allow=[launcher]"]))


@pytest.mark.parametrize(
    "word",
    [
        'hydra.launcher.comment="a\ntouch canary #"',
        'hydra.launcher.partition="a\ntouch canary #"',
        'hydra.job.name="a\ntouch canary"',
        'hydra.sweep.dir="a\ntouch canary"',
        "hydra.launcher.address=ray://elsewhere:10001",
    ],
)
def test_no_line_of_a_jobs_script(word):
    with pytest.raises(Refused, match="one line|may not be set"):
        check_overrides(Overrides.parse(["hydra/launcher=submitit_slurm", word]))
