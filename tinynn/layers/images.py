"""What the layers of images (N, H, W, C) share: arguments that come in pairs, window sizes, and shapes they refuse."""

from __future__ import annotations

import warnings
from typing import Any

from tinynn.config import positive_integer
from tinynn.errors import frames_inside
from tinynn.layers.base import Layer, shown
from tinynn.window import Pair, Window, same_padding

OPEN = 1 << 30
"""Stands for a side of unknown size: any window fits into it."""
SMALLEST = 8
"""Sides from which on (3, n, n) is taken for a channels-first image."""


def checked_pair(value: Any, what: str, owner: str) -> Pair:
    """(rows, columns) of a constructor argument that is a positive integer or two of them."""
    pair = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(pair) != 2:
        raise ValueError(f"{owner} expects {what} to be an integer or two, (rows, columns), got {value!r}")
    return positive_integer(pair[0], what, owner), positive_integer(pair[1], what, owner)


def checked_data_format(value: str | None, owner: str) -> str | None:
    """Keras's ``data_format``: "channels_last", or None for it. ValueError says how to turn channels-first images."""
    if value == "channels_first":
        raise ValueError(
            f"{owner} takes images with their channels last, (N, H, W, C), and has no data_format='channels_first': "
            "transpose them with np.moveaxis(x, 1, -1), or put Permute((2, 3, 1)) in front"
        )
    if value not in (None, "channels_last"):
        raise ValueError(f"{owner} expects data_format='channels_last' or None, got {value!r}")
    return value


def require_images(input_shape: Any, layer: Layer) -> None:
    """ValueError unless inputs have the rank of images."""
    rank = len(input_shape)
    if isinstance(input_shape, list):
        raise ValueError(
            f"layer '{layer.label}' expects one input, got a list of {rank}, {shown(input_shape)}: merge them first, "
            "with Concatenate()([x, y]) or Add()([x, y])"
        )
    if rank == 4 and input_shape[0] is None:
        raise ValueError(
            f"layer '{layer.label}' expects an input_shape without the batch axis, (rows, columns, channels), got "
            f"{input_shape}: write input_shape={input_shape[1:]}"
        )
    if rank != 3:
        sides = ", ".join(map(str, input_shape)) if rank == 2 else "rows, columns"
        last = "1" if rank == 2 else "channels"
        raise ValueError(
            f"layer '{layer.label}' expects images, inputs of shape (None, rows, columns, channels), got "
            f"{shown(input_shape)}: put Reshape(({sides}, {last})) in front"
        )


def check_images(input_shape: Any, layer: Layer) -> None:
    """ValueError unless inputs are images; a warning where they look like channels-first ones."""
    require_images(input_shape, layer)
    hint = channels_first_hint(input_shape)
    if hint and input_shape[1] >= SMALLEST:
        warnings.warn(
            f"layer '{layer.label}' got images of {input_shape[0]} row{'s' if input_shape[0] > 1 else ''}, "
            f"{input_shape[1]} columns and {input_shape[2]} channels{hint}",
            stacklevel=frames_inside(),
        )


def channels_first_hint(input_shape: Any) -> str:
    """The tail of a message where a shape looks like (channels, n, n), else nothing."""
    first, rows, columns = input_shape
    if first not in (1, 3, 4) or rows is None or rows != columns or rows <= first:
        return ""
    return (
        f". Shape {shown(input_shape)} looks like channels-first images: transpose them with np.moveaxis(x, 1, -1), "
        "or put Permute((2, 3, 1)) in front"
    )


def window_on(rows: int, columns: int, size: Pair, strides: Pair, padding: Any, dilation: Pair = (1, 1)) -> Window:
    """The window on images of this size; padding is "valid", "same" or ((top, bottom), (left, right))."""
    if padding == "same":
        sides = zip((rows, columns), size, strides, dilation, strict=True)
        vertical, horizontal = (same_padding(*side) for side in sides)
        return Window(size, strides, (vertical, horizontal), dilation)
    return Window(size, strides, ((0, 0), (0, 0)) if padding == "valid" else padding, dilation)


def output_sides(
    layer: Layer, input_shape: Any, what: str, size: Pair, strides: Pair, padding: Any, dilation: Pair = (1, 1)
) -> tuple[Any, Any]:
    """Output rows and columns (None where the input's are open); ValueError where the window is larger than the image.

    what: the name of the argument that holds the size
    """
    rows, columns = input_shape[0] or OPEN, input_shape[1] or OPEN
    window = window_on(rows, columns, size, strides, padding, dilation)
    out = window.output(rows, columns)
    if min(out) < 1:
        high, wide = window.extent
        reach = f", which reaches over {high} x {wide}," if dilation != (1, 1) else ""
        around = f" with padding {window.padding}" if window.padded else ""
        raise ValueError(
            f"layer '{layer.label}' has {what}={size}{reach} and gets images of {input_shape[0]} x {input_shape[1]}"
            f"{around}, inputs of shape {shown(input_shape)}, which are smaller: use a smaller {what}, padding='same' "
            f"or larger images{channels_first_hint(input_shape)}"
        )
    return out[0] if input_shape[0] else None, out[1] if input_shape[1] else None
