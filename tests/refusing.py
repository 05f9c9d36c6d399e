"""What a refusal must be."""

import pytest

from dlcourse.errors import CONFIG, Refused


def refusal(function, *args) -> str:
    """The message of the refusal that the call ends in: exit code 2, three lines at most."""
    with pytest.raises(Refused) as caught:
        function(*args)
    assert caught.value.code == CONFIG
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    return message
