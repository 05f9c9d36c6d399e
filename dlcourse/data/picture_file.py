"""Picture files as arrays of pixels: PNG, JPEG, WebP, BMP, TIFF, and the first frame of a GIF.

Imports neither torch nor lightning.
"""

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dlcourse.data.folder_files import FORMATS, NAMES
from dlcourse.errors import Refused, one_line

WHITE, BLACK = "white", "black"
SQUEEZE, PAD, CROP = "squeeze", "pad", "crop"
BYTE, WHOLE, REAL = "uint8", "int32", "float32"  # of pixels
READING = 2  # grows with each change of what a file is read as: what was kept of an earlier one is read anew
#: What Pillow raises of a file that is no picture, or a damaged one.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


class Conversion(NamedTuple):
    """How files become pixels of one kind, 0 … ``white`` in ``dtype``.

    ``ground``: the colour that transparent pictures are laid on; None: as runs of before, which read colours that
    cannot be seen, and 8 bits of any picture. ``resize``: ``squeeze`` the sides each to the size that is wanted,
    ``pad`` the shorter one with the ground, or ``crop`` the longer one, to its middle.
    """

    ground: str | None = WHITE
    white: float = 255
    dtype: str = BYTE
    resize: str = SQUEEZE


class Encoded(NamedTuple):
    """The content of a picture file that lies inside another; ``name`` says where."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


Source = str | Path | Encoded


class Examined(NamedTuple):
    """What a picture file holds; ``fault``: why it cannot be read, then the rest is empty.

    ``dtype`` of its values, ``bits`` in words. ``highest``: the largest value, where it has more than 8 bits.
    ``lightness``: the mean of its own colours, 0 … 255, where part of it is transparent.
    ``cut_to_8_bits``: colours of 16 bits, of which 8 are read. ``frames``: whether it has several.
    """

    fault: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    dtype: str = BYTE
    bits: str = "8 bits"
    highest: float | None = None
    lightness: float | None = None
    cut_to_8_bits: bool = False
    frames: bool = False


def examine(source: Source, whole: bool = False) -> Examined:
    """What a file holds, from its header; of transparent and of deep pictures, or all if ``whole``, from the pixels."""
    try:
        with opened(source) as file:
            dtype, (width, height) = dtype_of(file.mode), file.size
            deep = dtype != BYTE
            bits = {REAL: "real numbers", WHOLE: f"{_bits(file)} bits"}.get(
                dtype, "1 bit" if file.mode == "1" else "8 bits"
            )
            cut = not deep and file.format != "BMP" and ";16" in str(getattr(file, "tile", ""))
            found = Examined("", str(file.format), width, height, dtype, "16 bits a colour" if cut else bits)
            found = found._replace(cut_to_8_bits=cut, frames=bool(getattr(file, "is_animated", False)))
            if deep:
                found = found._replace(highest=float(_deep_values(source, file).max()))
            elif file.has_transparency_data:
                found = found._replace(lightness=_lightness(file))
            elif whole:
                file.load()
            return found
    except Refused as refusal:
        return Examined(str(refusal))


def pixels(source: Source, shape: Sequence[int], how: Conversion) -> np.ndarray:
    """The pixels (C, H, W) of a file, upright by its EXIF tag, with the channels and size of ``shape``."""
    channels, height, width = shape
    with opened(source) as file:
        image: Image.Image = ImageOps.exif_transpose(file)
        dtype = dtype_of(image.mode)
        if how.ground is None or dtype == how.dtype == BYTE:
            found = np.asarray(_resized(_laid(image, how.ground, channels), (width, height), how))
            return found.reshape(height, width, channels).transpose(2, 0, 1)
        if dtype == BYTE:
            values = np.asarray(_laid(image, how.ground, channels), np.float32).reshape(image.height, image.width, -1)
        else:
            values = _deep_values(source, file, image)[..., None]
        if dtype != how.dtype:
            values = values.astype(np.float32) * np.float32(how.white / _nominal_white(file, dtype, values))
        bands = values.transpose(2, 0, 1)
        if image.size != (width, height):  # float32 has no room for all whole numbers
            images = [_resized(Image.fromarray(band.astype(np.float32)), (width, height), how) for band in bands]
            bands = np.stack([*map(np.asarray, images)])
        bands = np.broadcast_to(bands, (channels, height, width))
        if how.dtype == REAL:
            return bands.astype(np.float32)
        range_ = np.iinfo(how.dtype)
        return np.clip(bands.astype(np.float64).round(), range_.min, range_.max).astype(how.dtype)


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """An open picture file. Refused: what is wrong with it, also while it is read."""
    if not isinstance(source, Encoded) and Path(source).exists() and not Path(source).is_file():
        raise Refused(
            f"{one_line(source)} is no file; name a picture"
        )  # to open a pipe would wait for who writes to it
    try:  # of a path, Pillow maps some TIFF files into memory, and the rows of turned ones fall apart
        quiet = warnings.catch_warnings(action="ignore")  # what is wrong is raised as well
        with quiet, _content(source) as content, Image.open(content, formats=FORMATS) as file:
            _scale_transparent(file)
            yield file
    except DAMAGED as error:
        raise Refused(f"{one_line(source)} {_fault(source, error)}; replace or remove it") from error


def _content(source: Source) -> IO[bytes]:
    return BytesIO(source.content) if isinstance(source, Encoded) else Path(source).open("rb")


def dtype_of(mode: str) -> str:
    """The kind of a picture's values by Pillow's mode."""
    return REAL if mode == "F" else WHOLE if mode.startswith("I") else BYTE


def _deep_values(source: Source, file: Image.Image, upright: Image.Image | None = None) -> np.ndarray:
    """The values (H, W) of a picture of more than 8 bits, white the highest. Refused: some that cannot be kept."""
    values = np.asarray(file if upright is None else upright)
    if not np.isfinite(values).all():
        raise Refused(f"{one_line(source)} holds a value that is not finite; replace or remove it")
    if file.mode == "I" and not _signed(file) and values.min() < 0:
        raise Refused(f"{one_line(source)} holds a value beyond {2**31 - 1:,}; divide its values, or remove it")
    if "transparency" in file.info:
        raise Refused(f"{one_line(source)} has 16 bits and a transparent value, which is not read; give it 8 bits")
    if dtype_of(file.mode) == WHOLE and _tag(file, 262, 1) == 0:  # PhotometricInterpretation: white is 0
        return 2 ** _bits(file) - 1 - values.astype(np.int64)
    return values


def _scale_transparent(file: Image.Image) -> None:
    """Pillow reads pixels of a PNG file as bytes, and leaves the value that is transparent as it is in the file."""
    clear, tile = file.info.get("transparency"), str(getattr(file, "tile", ""))
    if file.format == "PNG" and file.mode == "L" and isinstance(clear, int):
        file.info["transparency"] = clear * (85 if "L;2" in tile else 17 if "L;4" in tile else 1)
    if file.format == "PNG" and "RGB;16" in tile and isinstance(clear, tuple):
        file.info["transparency"] = tuple(value >> 8 for value in clear)


def _tag(image: Image.Image, number: int, default: int) -> int:
    """A whole number that a TIFF file says of its pictures; ``default`` of other files."""
    stored: Any = getattr(image, "tag_v2", {}).get(number, default)
    return int(np.atleast_1d(stored)[0])


def _bits(image: Image.Image) -> int:
    """How many bits a whole number has: as a TIFF file says, else 16."""
    return _tag(image, 258, 16)  # BitsPerSample


def _signed(image: Image.Image) -> bool:
    return _tag(image, 339, 1) == 2  # SampleFormat


def _nominal_white(image: Image.Image, dtype: str, values: np.ndarray) -> float:
    """What white is in a file of another kind than the data's."""
    if dtype == REAL:
        return next((white for white in (1.0, 255.0) if values.max() <= white), 65535.0)
    return 255.0 if dtype == BYTE else 2.0 ** (_bits(image) - _signed(image)) - 1


def _laid(image: Image.Image, ground: str | None, channels: int) -> Image.Image:
    """Without transparency, in grey or in colour."""
    if ground is not None and image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image.convert("RGBA"))
    return image.convert("RGB" if channels == 3 else "L")


def _resized(image: Image.Image, size: tuple[int, int], how: Conversion) -> Image.Image:
    if how.resize == PAD:
        ground = how.white if how.ground == WHITE else 0
        colour = ground if image.mode == "F" else how.ground
        return _padded(image, size, colour)
    if how.resize == CROP:
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return image.resize(size, Image.Resampling.BILINEAR)


def _padded(image: Image.Image, size: tuple[int, int], colour: Any) -> Image.Image:
    """As ``ImageOps.pad``, but with a pixel at least of each side: a long line of text is no fault."""
    width, height = size
    if image.width * height > width * image.height:
        inner = width, max(1, round(image.height / image.width * width))
    else:
        inner = max(1, round(image.width / image.height * height)), height
    padded = Image.new(image.mode, size, colour)
    place = round((width - inner[0]) / 2), round((height - inner[1]) / 2)
    padded.paste(image.resize(inner, Image.Resampling.BILINEAR), place)
    return padded


def _lightness(image: Image.Image) -> float | None:
    """The mean lightness of what can be seen, 0 … 255; None if all of it can be, or nothing."""
    rgba = image.convert("RGBA")
    alpha = np.asarray(rgba.getchannel("A"), np.float64)
    if alpha.min() == 255 or not alpha.any():
        return None
    return float((np.asarray(rgba.convert("L")) * alpha).sum() / alpha.sum())


def _fault(source: Source, error: Exception) -> str:
    if isinstance(source, Encoded) and not source.content:
        return "holds no picture"
    if isinstance(error, UnidentifiedImageError):
        empty = not isinstance(source, Encoded) and Path(source).stat().st_size == 0
        return "is empty" if empty else f"is no picture that is read ({NAMES})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    cut = isinstance(error, EOFError) or "truncated" in str(error).lower() or "not enough" in str(error).lower()
    return f"is a picture that is cut off ({error})" if cut else f"is a damaged picture ({error})"
