"""Text about a person's own files, as a shell hands it over: columns, cells and paths may hold any character.

Hydra's grammar gives some characters a meaning, and has no other outside quotes, such as #, ~, ü or parentheses. Where
it cannot read a word whose key is among `OWN_TEXT`, what stands behind the = is the text itself. What it can read
keeps its meaning: a,b is several runs, [a,b] a list, null nothing, ${…} a reference. ${ is never taken as text.
"""

import re

#: Keys of columns, words of cells, files and folders, of train.py and of the scripts.
OWN_TEXT = frozenset(
    {
        *(f"data.{key}" for key in ("path", "test_path", "val_path", "target", "columns", "ignore", "weight")),
        *(f"data.{key}" for key in ("image", "group", "time", "sheet", "separator", "comment", "decimal", "na_values")),
        *("data.classes_in_training", "run_dir", "sweep_dir", "resume", "init_from", "paths.data_dir"),
        *("paths.runs_dir", "run", "input", "output"),
    }
)
WORD = re.compile(r"(\+{0,2}([\w.]+))=(.*)", re.DOTALL)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
PLAIN_PATH = re.compile(r"/[\w./-]+", re.ASCII)
QUOTES = "'\""


def own_text(word: str) -> tuple[str, str] | None:
    """The key, with its + or ++, and the text of a word about a person's own files; None for any other word."""
    found = WORD.fullmatch(word)
    return (found[1], found[3].strip()) if found and found[2] in OWN_TEXT else None


def as_text(word: str) -> str | None:
    """A word that Hydra's grammar cannot read, as one that it can: with its text, or each name of a list, in quotes.

    None where it is no text about a person's own files, holds ${ or control characters, or is a list whose names
    cannot be told apart: with parentheses or quotes that do not close, or no name between two commas.
    """
    key, text = own_text(word) or ("", "")
    if not text or "${" in text or CONTROL.search(text):
        return None
    if not (text.startswith("[") and text.endswith("]")):
        return quoted(key, text)
    names = split(text[1:-1])
    return f"{key}=[{','.join(map(quote, names))}]" if names else None


def one_text(word: str) -> str:
    """How to write a text that Hydra reads as several, for a message; empty for other words."""
    key, text = own_text(word) or ("", "")
    return f"\nOne name is put in quotes, \"{quoted(key, text)}\", a list in brackets, '{key}=[{text}]'" if key else ""


def split(text: str) -> list[str] | None:
    """Names between commas that stand outside parentheses, brackets and quotes around a whole name."""
    parts, open_brackets, open_quote = [""], 0, ""
    for character in text:
        if character == "," and not open_brackets and not open_quote:
            parts.append("")
            continue
        if open_quote:
            open_quote = "" if character == open_quote else open_quote
        elif character in QUOTES and not parts[-1].strip():
            open_quote = character
        else:
            open_brackets += (character in "([{") - (character in ")]}")
        if open_brackets < 0:
            return None
        parts[-1] += character
    names = [part.strip() for part in parts]
    whole = [name[1:-1] if name[:1] in QUOTES and name[:1] == name[-1:] and len(name) > 1 else name for name in names]
    return None if open_brackets or open_quote or not all(whole) else whole


def quote(text: object) -> str:
    """The text as Hydra's grammar reads it in quotes, so that it may hold any character; a plain path needs none."""
    if PLAIN_PATH.fullmatch(str(text)):
        return str(text)
    # Only backslashes before a quote have a meaning there.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), str(text)) + "'"


def quoted(key: str, text: object) -> str:
    """The override ``key=text``, quoted so that the text may hold any character."""
    return f"{key}={quote(text)}"
