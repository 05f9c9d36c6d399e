"""Whatever the words are: a configuration or a refusal."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlcourse.config.compose import Composed
from dlcourse.config.groups import groups
from dlcourse.config.ranges import LIMITS
from dlcourse.errors import CONFIG, Refused
from tests.composing import checked

KEYS = sorted(
    {*LIMITS, *groups(), "monitor", "mode", "tags", "allow", "checkpoint", "checkpoint.every", "paths.data_dir"}
)
KEYS += [
    "model.activation",
    "data.augment",
    "data.path",
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


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(WORD, max_size=3))
@example(["+allow=a,b"])
@example(["~checkpoint"])
@example(["~activation"])
@example(["++data.augment='${nothing}'"])
@example(["paths=null"])
@example(["data=csv", "data.path=3"])
@example(["data=csv", "data.path=[1]"])
def test_words_end_in_a_configuration_or_in_a_refusal(words):
    try:
        assert isinstance(checked(words), Composed)
    except Refused as refused:
        assert refused.code == CONFIG and 1 <= len(str(refused).splitlines()) <= 3
