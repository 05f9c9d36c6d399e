"""Errors that end a command with a message instead of a traceback."""

import errno
import signal

CONFIG, DIVERGED, CHECKPOINT, ENVIRONMENT = 2, 3, 4, 5
UNWRITABLE = (errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)


class Refused(Exception):
    """A run that cannot start or continue, and why, in at most three lines.

    ``code`` is the exit code: 2 config or data refused, 3 diverged, 4 checkpoint unusable, 5 environment.
    The message names the key, file or value, and what to change.
    """

    def __init__(self, message: str, code: int = CONFIG):
        super().__init__(message)
        self.code = code


class Diverged(Refused):
    """A loss, gradient or weight became NaN or infinite at ``step``; ``found``: in which layer and sample."""

    def __init__(self, what: str, way_out: str, step: int, found: str = ""):
        super().__init__("\n".join(line for line in (what, found, way_out) if line), DIVERGED)
        self.what, self.way_out, self.step = what, way_out, step


class Interrupted(BaseException):
    """A signal stopped the run; it can be resumed from its last checkpoint. ``code`` is 128 + the signal.

    Like KeyboardInterrupt, it is not an Exception, so that no handler swallows it.
    """

    status = "interrupted"

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


class ForwardFailed(RuntimeError):
    """A model's own forward raised: a bug in its code, shown with its traceback."""


def exit_code(error: BaseException) -> int:
    """The exit code for an error: its own, or 1."""
    known = isinstance(error, Refused) or hasattr(error, "status")
    return error.code if known else 1  # type: ignore[attr-defined]


def printable(text: str) -> str:
    """The text with control characters as escapes, but for line ends: what a file holds must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: object) -> str:
    """The text with line ends as escapes too: the name of a file or folder, which may hold any character."""
    return printable(str(text)).replace("\n", "\\n")


def in_utf8(text: str) -> str:
    """The text with what is no UTF-8 as escapes: the name of a file may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def explain(error: BaseException) -> Refused | None:
    """The refusal for a known kind of error: Refused itself, a full disk, a wrong argument, out of memory."""
    from hydra.errors import InstantiationException

    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for link in chain:
        if isinstance(link, Refused):
            return link
        named = type(link).__name__
        if isinstance(link, MemoryError) or "OutOfMemoryError" in named or "can't allocate memory" in str(link):
            return Refused(
                "out of memory: halve data.batch_size and set trainer.accumulate_grad_batches=2", ENVIRONMENT
            )
        if isinstance(link, OSError) and link.errno in UNWRITABLE:
            return Refused(f"cannot open or write {link.filename or 'the run directory'}: {link.strerror}", ENVIRONMENT)
        if named == "MisconfigurationException":
            return Refused(str(link).strip().splitlines()[0], CONFIG)
        if isinstance(error, InstantiationException) and isinstance(link, ImportError):
            extras = "pip install -e '.[tensorboard,export]' brings what the extras need"
            return Refused(f"{str(link).strip().splitlines()[0]}\n{extras}", ENVIRONMENT)
    forward = any(isinstance(link, ForwardFailed) for link in chain)
    if isinstance(error, InstantiationException) and not forward and isinstance(chain[-1], ValueError | TypeError):
        key = str(error).rpartition("full_key: ")[2].strip() if "full_key: " in str(error) else ""
        return Refused(f"{key}: {chain[-1]}".removeprefix(": "), CONFIG)
    return None
