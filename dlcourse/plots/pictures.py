"""Pictures of samples and filters, as PNG data in the page."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LARGEST = 96  # pixels along a side: larger pictures are shown smaller, small ones enlarged by a whole factor


def is_picture(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape (C, H, W) can be shown, grey or in colour."""
    return len(shape) == 3 and shape[0] in (1, 3)


def is_film(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape (C, T, H, W) can be shown as T frames, grey or in colour."""
    return len(shape) == 4 and shape[0] in (1, 3)


def picture(x: Tensor, low: float, high: float) -> Image.Image:
    """One input (C, H, W), C in 1, 3; values low … high become black … white."""
    levels = np.nan_to_num((x.float().numpy() - low) / max(high - low, 1e-12)) * 255
    image = _image(levels.clip(0, 255).astype(np.uint8))
    if max(image.size) > LARGEST:
        image.thumbnail((LARGEST, LARGEST))
        return image
    factor = LARGEST // max(image.size)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def mosaic(weights: np.ndarray) -> Image.Image:
    """Filters (n, C, H, W) side by side on one scale: blue below zero, white zero, red above; C = 3 as colours."""
    n, channels, height, width = weights.shape
    scale = np.quantile(np.abs(np.nan_to_num(weights)), 0.995) or 1.0
    w = np.nan_to_num(weights / scale).clip(-1, 1)
    if channels == 3:
        tiles = 0.5 + w / 2
    else:
        red, blue = np.array([[178, 24, 43], [33, 102, 172]])[:, :, None, None] / 255
        tiles = 1 - np.abs(w) * (1 - np.where(w > 0, red, blue))
    columns = min(n, max(4, math.ceil(math.sqrt(2 * n * height / width))))
    rows = math.ceil(n / columns)
    page = np.ones((3, rows * (height + 1) + 1, columns * (width + 1) + 1))
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + 1) + 1, k % columns * (width + 1) + 1
        page[:, top - 1 : top + height + 1, left - 1 : left + width + 1] = 0.82
        page[:, top : top + height, left : left + width] = tile
    return _image((page * 255).round().astype(np.uint8))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def moving(films: Tensor, low: float, high: float, seconds: float = 0.2) -> str:
    """Films (N, C, T, H, W) side by side as one GIF that repeats, as a data URI; values low … high."""
    frames = [stacked([frame], low, high) for frame in films.transpose(1, 2).unbind(1)]
    large = [frame.resize((2 * frame.width, 2 * frame.height), Image.Resampling.NEAREST) for frame in frames]
    buffer = io.BytesIO()
    large[0].save(buffer, "GIF", save_all=True, append_images=large[1:], duration=int(1000 * seconds), loop=0)
    return "data:image/gif;base64," + base64.b64encode(buffer.getvalue()).decode()


def value_range(x: Tensor, rows: Sequence[int]) -> tuple[float, float]:
    """The values for black and white: 0 … 255 for bytes, else the range of the chosen samples."""
    if x.dtype == torch.uint8:
        return 0.0, 255.0
    finite = np.nan_to_num(x[list(rows)].numpy())
    return float(finite.min()), float(finite.max())


def stacked(lines: Sequence[Tensor], low: float, high: float) -> Image.Image:
    """Lines of pictures (N, C, H, W), one below the other; values low … high become black … white."""
    tiles = torch.stack([*lines]).clamp(low, high).sub(low).div(max(high - low, 1e-12))
    count, n, channels, height, width = tiles.shape
    page = np.full((channels, count * (height + 1) - 1, n * (width + 1) - 1), 0.5)
    for line, pictures in enumerate(tiles.numpy()):
        for k, tile in enumerate(pictures):
            top, left = line * (height + 1), k * (width + 1)
            page[:, top : top + height, left : left + width] = tile
    return _image((page * 255).round().astype(np.uint8))
