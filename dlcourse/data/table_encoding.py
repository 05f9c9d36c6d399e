"""The encoding of a text file: found or given, packed or not."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlcourse.errors import Refused

PIECE = 1 << 20  # bytes that are looked at together
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def as_utf8(file: str, given: str | None, copy: Path, said: list[str]) -> str:
    """The file itself if it is UTF-8, else a copy that is; Windows-1252 (Latin-1 and more) if nothing says so.

    Refused: an encoding that is none, or not the file's; a file that cannot be read.
    """
    try:
        if given is not None:
            "".encode(given)
        encoding = given
        if given is None or codecs.lookup(given).name in ("utf-8", "utf-8-sig"):
            encoding = _encoding(file)
            if given and encoding == "cp1252":
                raise Refused(f"{file} is not UTF-8; set data.encoding to the file's own, such as latin-1")
        if encoding == "utf-8":
            return file
        if encoding == "cp1252" and given is None:
            said.append("the text is not UTF-8 and was read as Windows-1252; set data.encoding=… for another")
        with _opened(file) as stream, copy.open("w", encoding="utf-8", newline="") as out:
            for piece in codecs.getreader(str(encoding))(stream):
                out.write(piece)
    except (LookupError, UnicodeError) as error:
        raise Refused(f"{file}: data.encoding={given}: {error}; set the file's own, such as latin-1") from None
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{file} cannot be read: {error}; name a file") from None
    return str(copy)


def _encoding(file: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _opened(file) as stream:
        piece = stream.read(PIECE)
        if marked := [name for mark, name in BYTE_ORDER_MARKS.items() if piece.startswith(mark)]:
            return marked[0]
        if b"\0" in piece:
            raise Refused(f"{file} is no text: it has bytes of value 0; save the table as CSV, or set data.encoding=")
        try:
            while piece:
                decoder.decode(piece)
                piece = stream.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def lines_of(file: str) -> Iterator[str]:
    """The lines of a UTF-8 file, each with its end."""
    with _opened(file) as stream:
        yield from io.TextIOWrapper(stream, encoding="utf-8", newline="")


def _opened(file: str) -> Any:
    return gzip.open(file, "rb") if file.endswith(".gz") else open(file, "rb")
