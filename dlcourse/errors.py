"""Refusals: what ends a command with a sentence instead of a traceback."""

CONFIG, DIVERGED, CHECKPOINT, ENVIRONMENT = 2, 3, 4, 5


class Refused(Exception):
    """A run that cannot go on, told in at most three lines.

    ``code`` is the exit code: 2 config or data refused, 3 diverged, 4 checkpoint unusable, 5 environment.
    The message names the key, file or value and the way out.
    """

    def __init__(self, message: str, code: int = CONFIG):
        super().__init__(message)
        self.code = code
