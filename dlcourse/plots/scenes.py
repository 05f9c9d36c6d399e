"""Pictures with boxes drawn on them, and masks in the colours of their classes."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw
from torch import Tensor

from dlcourse.plots.drawing import COLOURS

SIDE = 192  # pixels along a picture's longer side on the page: small ones are enlarged by a whole factor
TRUE, PREDICTED = COLOURS[2], COLOURS[1]
LABEL = 10  # pixels: height of the text at a box


def palette(classes: int) -> np.ndarray:
    """A colour for each class, (classes, 3) of 0 … 255: class 0 black, then the page's colours, later ones paler."""
    shades = [np.array(to_rgb(COLOURS[k % len(COLOURS)])) for k in range(classes - 1)]
    paler = [1 - (1 - colour) * 0.6 ** (k // len(COLOURS)) for k, colour in enumerate(shades)]
    return (np.array([np.zeros(3), *paler]) * 255).round().astype(np.uint8)


def mask_picture(mask: Tensor) -> Image.Image:
    """A mask (H, W) as a picture with a palette: the value of a pixel is its class number, 0 … 255."""
    image = Image.fromarray(mask.numpy().astype(np.uint8))
    image.putpalette(palette(256).flatten().tolist())
    return image


def grey_levels(x: Tensor, white: float) -> Image.Image:
    """A picture (C, H, W) from 0 to white, in colours."""
    levels = (x.float() / white * 255).clamp(0, 255).round().to(torch.uint8).expand(3, -1, -1)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def enlarged(image: Image.Image) -> Image.Image:
    factor = max(1, SIDE // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def beside(x: Tensor, masks: Sequence[Tensor], white: float) -> Image.Image:
    """A picture (C, H, W), and beside it masks (H, W) in colours."""
    parts = [grey_levels(x, white), *(mask_picture(mask).convert("RGB") for mask in masks)]
    _, height, width = x.shape
    page = Image.new("RGB", (len(parts) * (width + 1) - 1, height), (128, 128, 128))
    for k, part in enumerate(parts):
        page.paste(part, (k * (width + 1), 0))
    return enlarged(page)


def boxed(x: Tensor, white: float, boxes: Sequence[tuple[Sequence[float], str, str]]) -> Image.Image:
    """A picture (C, H, W) with boxes [x1, y1, x2, y2] drawn on it, each with its text and colour; enlarged."""
    image = enlarged(grey_levels(x, white))
    factor = image.width / x.shape[2]
    draw = ImageDraw.Draw(image)
    for corners, text, colour in boxes:
        left, top, right, bottom = (float(corner) * factor for corner in corners)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2)
        draw.text((left + 1, top - LABEL - 2 if top > LABEL else bottom), text, fill=colour, font_size=LABEL)
    return image
