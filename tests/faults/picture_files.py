"""Picture files as cameras, scanners and programs write them, of which every pixel is known.

`KINDS` writes one of some size; PNG and TIFF partly by hand, since Pillow writes neither interlaced pictures nor all
depths. What a lossy format holds is what Pillow decodes of it.
"""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

BYTE, WHOLE, REAL = "uint8", "int32", "float32"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # of EXIF: how the stored pixels are made upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


class Picture(NamedTuple):
    """A picture in a file, and what it shows.

    ``values`` (H, W, 1 or 3), ``alpha`` (H, W) of 0 … 255 or None. ``white``: the highest value that a file of its kind
    can hold. ``cut``: colours of 16 bits, here the upper 8. ``refusal``: why it must be refused.
    """

    content: bytes
    suffix: str
    values: np.ndarray
    alpha: np.ndarray | None = None
    dtype: str = BYTE
    white: float = 255
    cut: bool = False
    frames: bool = False
    refusal: str = ""

    def __repr__(self) -> str:
        return f"<{self.suffix} {self.values.shape} {self.dtype}>"

    @property
    def transparent(self) -> bool:
        return self.alpha is not None and self.alpha.min() < 255 and bool(self.alpha.any())

    def turned(self, orientation: int) -> "Picture":
        turn = TURNS[orientation]
        return self._replace(values=turn(self.values), alpha=None if self.alpha is None else turn(self.alpha))


def grid(draw: Random, height: int, width: int, bands: int, high: int) -> np.ndarray:
    """Values 0 … high (H, W, bands): noise, one colour, or the lowest and highest alone."""
    random = np.random.default_rng(draw.getrandbits(32))
    style = draw.choice(["noise", "noise", "noise", "one", "two"])
    if style == "one":
        return np.broadcast_to(draw.choice([0, high, draw.randint(0, high)]), (height, width, bands)).copy()
    if style == "two":
        return random.integers(0, 2, (height, width, bands)) * high
    return random.integers(0, high + 1, (height, width, bands))


def orientation_of(draw: Random) -> int:
    return draw.choice([1] * 8 + [*TURNS])


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png(
    samples: np.ndarray, bits: int, colour: int, chunks: Sequence[tuple[bytes, bytes]] = (), interlaced: bool = False
) -> bytes:
    """A PNG file of samples (H, W, C); ``colour``: the type, 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = []
    for y, x, down, right in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::down, x::right]
        lines += [b"\0" + packed(row.reshape(-1), bits, ">") for row in part if part.size]
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, interlaced)
    inside = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in inside)


def packed(row: np.ndarray, bits: int, order: str) -> bytes:
    """Whole numbers of so many bits, one after the other."""
    if bits % 8:
        return np.packbits(row[:, None] >> np.arange(bits)[::-1] & 1).tobytes()
    return row.astype(f"{order}u{bits // 8}").tobytes()


def tiff(strips: Sequence[bytes], size: tuple[int, int], tags: dict[int, int], order: str = "<") -> bytes:
    """A TIFF file of pages (height, width), each one strip, grey but for these further tags."""
    out, height, width = bytearray(), *size
    out += (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    for k, strip in enumerate(strips):
        entries = {256: width, 257: height, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(strip), **tags}
        start = len(out) + 2 + 12 * len(entries) + 4
        entries[273] = start
        following = start + len(strip) + len(strip) % 2
        out += struct.pack(f"{order}H", len(entries))
        for tag, value in sorted(entries.items()):
            out += struct.pack(f"{order}HHII", tag, 4, 1, value)
        out += struct.pack(f"{order}I", following if k + 1 < len(strips) else 0) + strip + b"\0" * (len(strip) % 2)
    return bytes(out)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def image_of(values: np.ndarray) -> Image.Image:
    """Of bytes (H, W, C)."""
    return Image.fromarray(values.astype(np.uint8).squeeze(2) if values.shape[2] == 1 else values.astype(np.uint8))


def chunks_of(draw: Random) -> tuple[int, list[tuple[bytes, bytes]]]:
    """An orientation, and the chunk of PNG that says it."""
    turn = orientation_of(draw)
    return turn, [(b"eXIf", exif(turn).tobytes().removeprefix(b"Exif\0\0"))] * (turn != 1)


def grey(draw: Random, height: int, width: int) -> Picture:
    """One byte a pixel, or fewer bits of PNG, with a value that is transparent or without."""
    bits = draw.choice([1, 2, 4, 8, 8, 8, 8])
    samples = grid(draw, height, width, 1, 2**bits - 1)
    turn, chunks = chunks_of(draw)
    values, alpha = samples * 255 // (2**bits - 1), None
    if draw.random() < 0.2:
        clear = int(draw.choice(samples.reshape(-1)))
        chunks.append((b"tRNS", struct.pack(">H", clear)))
        alpha = np.where(samples[..., 0] == clear, 0, 255)
    return Picture(png(samples, bits, 0, chunks, draw.random() < 0.3), "png", values, alpha).turned(turn)


def colour(draw: Random, height: int, width: int) -> Picture:
    """RGB, RGBA, or grey and alpha, in a PNG file of 8 or 16 bits."""
    bits, (kind, bands) = draw.choice([8, 8, 8, 16]), draw.choice([(2, 3), (2, 3), (6, 4), (4, 2)])
    samples = grid(draw, height, width, bands, 2**bits - 1)
    turn, chunks = chunks_of(draw)
    alpha = None
    if kind == 2 and draw.random() < 0.2:
        clear = samples[draw.randrange(height), draw.randrange(width)]
        chunks.append((b"tRNS", clear.astype(">u2").tobytes()))
        alpha = np.where((samples == clear).all(2), 0, 255)
    content = png(samples, bits, kind, chunks, draw.random() < 0.3)
    shown = samples >> bits - 8
    if kind != 2:
        shown, alpha = shown[..., :-1], shown[..., -1]
    return Picture(content, "png", shown, alpha, cut=bits == 16).turned(turn)


def palette(draw: Random, height: int, width: int) -> Picture:
    """Numbers of colours, in PNG, GIF, BMP or TIFF; of PNG and GIF with transparent ones."""
    form = draw.choice(["png", "png", "gif", "bmp", "tif"])
    bits = draw.choice([1, 2, 4, 8]) if form == "png" else 8
    known = np.array([[draw.randint(0, 255) for _ in "rgb"] for _ in range(2**bits if bits < 8 else 256)])
    samples = grid(draw, height, width, 1, len(known) - 1)
    alphas = np.full(len(known), 255)
    clear = draw.random() < 0.4
    turn, chunks = chunks_of(draw)
    if form == "png":
        chunks.insert(0, (b"PLTE", known.astype(np.uint8).tobytes()))
        if clear:
            few = draw.randint(1, len(known))
            alphas[:few] = [draw.choice([0, 255, draw.randint(0, 255)]) for _ in range(few)]
            chunks.append((b"tRNS", alphas[:few].astype(np.uint8).tobytes()))
        content = png(samples, bits, 3, chunks, draw.random() < 0.3)
    else:
        turn, options = 1, {}
        image = Image.frombytes("P", (width, height), samples.astype(np.uint8).tobytes())
        image.putpalette(known.astype(np.uint8).tobytes())
        if form == "gif" and clear:
            options["transparency"] = int(draw.choice(samples.reshape(-1)))
            alphas[options["transparency"]] = 0
        content = saved(image, {"tif": "TIFF"}.get(form, form.upper()), **options)
    alpha = alphas[samples[..., 0]] if clear and form in ("png", "gif") else None
    return Picture(content, form, known[samples[..., 0]], alpha).turned(turn)


def plain(draw: Random, height: int, width: int) -> Picture:
    """Bytes in another format than PNG, in one of Pillow's modes."""
    bands = draw.choice([1, 3])
    values = grid(draw, height, width, bands, 255)
    turn = orientation_of(draw)
    form = draw.choice(["BMP", "TIFF", "WEBP", "GIF" if bands == 1 else "WEBP"])
    if form in ("BMP", "GIF"):
        return Picture(saved(image_of(values), form), form.lower(), values)
    if form == "WEBP":
        alpha = grid(draw, height, width, 1, 255) if draw.random() < 0.4 else None
        rgb = values.repeat(3 // bands, 2)
        image = image_of(rgb if alpha is None else np.concatenate([rgb, alpha], 2))
        content = saved(image, "WEBP", lossless=True, exact=True, exif=exif(turn))
        return Picture(content, "webp", rgb, None if alpha is None else alpha[..., 0]).turned(turn)
    packing = draw.choice([None, "tiff_lzw", "tiff_deflate", "packbits"])
    options = {"compression": packing, "tiffinfo": {274: turn}}
    mode = draw.choice(["as it is", "as it is", "1", "alpha", "CMYK"])
    if mode == "1":
        values = (values[..., :1] > 127) * 255
        return Picture(saved(image_of(values).convert("1"), "TIFF", **options), "tiff", values).turned(turn)
    if mode == "alpha":
        alpha = grid(draw, height, width, 1, 255)
        image = image_of(np.concatenate([values, alpha], 2)) if bands == 3 else None
        image = image or Image.merge("LA", [image_of(values), image_of(alpha)])
        return Picture(saved(image, "TIFF", **options), "tif", values, alpha[..., 0]).turned(turn)
    if mode == "CMYK":
        inks = grid(draw, height, width, 4, 255)
        image = Image.frombytes("CMYK", (width, height), inks.astype(np.uint8).tobytes())
        key = 255 - inks[..., 3:]
        shown = np.clip(key - (inks[..., :3] * key + 127) // 255, 0, 255)  # never a tie: 255 is odd
        return Picture(saved(image, "TIFF", **options), "tif", shown).turned(turn)
    return Picture(saved(image_of(values), "TIFF", **options), draw.choice(["tif", "tiff"]), values).turned(turn)


def short_bmp(draw: Random, height: int, width: int) -> Picture:
    """Colours of five bits each, green of six in some, in two bytes."""
    green = draw.choice([5, 6])
    samples = grid(draw, height, width, 3, 31)
    if green == 6:
        samples[..., 1] = samples[..., 1] * 2 + draw.randint(0, 1)
    joined = samples @ np.array([2 ** (green + 5), 32, 1])
    lines = [row.astype("<u2").tobytes() + b"\0\0" * (width % 2) for row in joined[::-1]]
    masks = struct.pack("<3I", 31 << green + 5, 2**green - 1 << 5, 31) if green == 6 else b""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3 if green == 6 else 0, 0, 0, 0, 0, 0)
    body = b"".join(lines)
    start = 14 + len(head) + len(masks)
    content = struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + head + masks + body
    return Picture(content, "bmp", samples * 255 // np.array([31, 2**green - 1, 31]))


def jpeg(draw: Random, height: int, width: int) -> Picture:
    """A photo: what Pillow decodes of it, upright."""
    bands = draw.choice([1, 3, 3, 4])
    values = grid(draw, height, width, bands, 255)
    image = image_of(values) if bands < 4 else Image.frombytes("CMYK", (width, height), values.astype("u1").tobytes())
    turn = orientation_of(draw)
    options = {"quality": draw.randint(30, 95), "exif": exif(turn), "progressive": draw.random() < 0.3}
    content = saved(image, "JPEG", **options)
    decoded = np.asarray(Image.open(io.BytesIO(content)).convert("L" if bands == 1 else "RGB"))
    return Picture(content, draw.choice(["jpg", "jpeg"]), decoded.reshape(height, width, -1)).turned(turn)


def animated(draw: Random, height: int, width: int) -> Picture:
    """Several pictures in a file, of which the first counts."""
    form = draw.choice(["GIF", "WEBP", "PNG", "TIFF", "MPO"])
    bands = 1 if form == "GIF" else 3
    first, *others = (grid(draw, height, width, bands, 255) for _ in range(draw.randint(2, 4)))
    others[0] = (first + 100) % 256  # no program leaves equal frames out
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    content = saved(image_of(first), form, save_all=True, append_images=[*map(image_of, others)], **options)
    if form == "MPO":
        first = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    suffix = {"TIFF": "tif", "MPO": "jpg"}.get(form, form.lower())
    return Picture(content, suffix, first, frames=True)


def deep(draw: Random, height: int, width: int) -> Picture:
    """Grey of 12, 16 or 32 bits in PNG or TIFF: whole numbers, with a sign or without."""
    turn, chunks = chunks_of(draw)
    if draw.random() < 0.4:
        samples = grid(draw, height, width, 1, draw.choice([100, 1023, 4095, 4095, 16383, 65535]))
        content, refusal = png(samples, 16, 0, chunks, draw.random() < 0.3), ""
        if draw.random() < 0.05:
            clear = struct.pack(">H", int(draw.choice(samples.reshape(-1))))
            content, refusal = png(samples, 16, 0, [*chunks, (b"tRNS", clear)]), "transparent and of 16 bits"
        return Picture(content, "png", samples, dtype=WHOLE, white=65535, refusal=refusal).turned(turn)
    bits, signed, order = draw.choice(
        [(12, 0, "<"), *[(16, 0, "<"), (16, 0, ">")] * 2, (16, 1, "<"), (32, 0, "<"), (32, 1, ">")]
    )
    high = 4095 if bits == 12 else draw.choice([4095, 2**bits // 2 - 1, 2 ** (bits - signed) - 1])
    samples = grid(draw, height, width, 1, high) - signed * draw.choice([0, 0, 100])
    negative = bits == 16 and not signed and order == "<" and draw.random() < 0.2
    stored = 65535 - samples if negative else samples
    tags = {258: bits, 339: 2 if signed else 1, 274: turn, 262: 0 if negative else 1}
    strip = b"".join(packed(row.reshape(-1), bits, order) for row in stored)
    content = tiff([strip] * draw.choice([1, 1, 1, 2]), (height, width), tags, order)
    refusal = "values beyond 31 bits" if samples.max() >= 2**31 else ""
    several = content.count(strip) > 1 and len(content) > 2 * len(strip) + 200
    white = 2.0 ** (bits - signed) - 1
    return Picture(content, "tif", samples, dtype=WHOLE, white=white, frames=several, refusal=refusal).turned(turn)


def real(draw: Random, height: int, width: int) -> Picture:
    """Real numbers, in TIFF."""
    order, turn = draw.choice("<>"), orientation_of(draw)
    high = draw.choice([1, 1, 255, 65535, 1e6])
    values = (grid(draw, height, width, 1, 1000) / 1000 * high).astype(np.float32)
    values -= draw.choice([0, 0, 0, 1]) * np.float32(high / 2)
    refusal = ""
    if draw.random() < 0.03:
        values[-1, -1] = draw.choice([np.nan, np.inf, -np.inf])
        refusal = "not finite"
    tags = {258: 32, 339: 3, 274: turn}
    content = tiff([values.astype(f"{order}f4").tobytes()], (height, width), tags, order)
    return Picture(content, "tiff", values, dtype=REAL, refusal=refusal).turned(turn)


def deep_colour(draw: Random, height: int, width: int) -> Picture:
    """RGB of 16 bits each, in TIFF."""
    order, turn = draw.choice("<>"), orientation_of(draw)
    samples = grid(draw, height, width, 3, 65535)
    strip = packed(samples.reshape(-1), 16, order)
    content = tiff([strip], (height, width), {258: 16, 262: 2, 274: turn, 277: 3}, order)
    return Picture(content, "tif", samples >> 8, cut=True).turned(turn)


KINDS: dict[str, Callable[[Random, int, int], Picture]] = {
    "grey": grey,
    "colour": colour,
    "palette": palette,
    "plain": plain,
    "short_bmp": short_bmp,
    "jpeg": jpeg,
    "animated": animated,
    "deep": deep,
    "deep_colour": deep_colour,
    "real": real,
}
