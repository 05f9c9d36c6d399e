"""Whatever the words are: a configuration or a refusal."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlcourse.config.compose import Composed
from dlcourse.config.groups import groups
from dlcourse.config.ranges import RANGES
from dlcourse.errors import CONFIG, Refused
from tests.composing import checked

KEYS = sorted(
    {*RANGES, *groups(), "monitor", "mode", "tags", "allow", "checkpoint", "checkpoint.every", "paths.data_dir"}
)
KEYS += [
    "model.activation",
    "data.augment",
    "data.path",
    "data.target",
    "data.ignore",
    "data.facts",
    "data.y",
    "loss.target_forms",
    "task.takes",
    "model._target_",
    "a.b",
]
VALUES = [
    "",
    "null",
    "true",
    "-1",
    "0",
    "nan",
    "1e400",
    "abc",
    "[]",
    "{}",
    "[1,a]",
    "{a:1}",
    "a,b",
    "range(3)",
    "'x y'",
]
VALUES += [
    "${seed}",
    "'${nothing}'",
    "'${oc.env:HOME}'",
    "???",
    "{_target_:os.system}",
    "[relu,tanh]",
    "none",
    "os.system",
]
CHOICES = [f"{group}={choice}" for group, choices in groups().items() for choice in choices]
WORD = st.one_of(
    st.sampled_from(CHOICES),
    st.builds(
        "{}{}={}".format, st.sampled_from(["", "", "", "+", "++"]), st.sampled_from(KEYS), st.sampled_from(VALUES)
    ),
    st.builds("~{}".format, st.sampled_from(KEYS)),
    st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=8)),
    st.text(max_size=12),
)


def any_words(examples):
    """A property of any three words, judged on this number of examples."""
    drawn = given(st.lists(WORD, max_size=3))
    return lambda test: settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )(drawn(test))


@any_words(40)
@example(["~checkpoint.every"])
@example(["~trainer.devices"])
@example(["~data.y"])
@example(["+allow=a,b"])
@example(["~checkpoint"])
@example(["~activation"])
@example(["++data.augment='${nothing}'"])
@example(["paths=null"])
@example(["data=csv", "data.path=3"])
@example(["data=csv", "data.path=[1]"])
def test_words_end_in_a_configuration_or_in_a_refusal(words):
    configuration_or_refusal(words)


@pytest.mark.slow
@any_words(300)
def test_and_so_do_many_more(words):
    configuration_or_refusal(words)


def configuration_or_refusal(words):
    try:
        assert isinstance(checked(words), Composed)
    except Refused as refused:
        assert refused.code == CONFIG and 1 <= len(str(refused).splitlines()) <= 3
