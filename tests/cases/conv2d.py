"""Conv2D: odd sizes, every way of moving the window, and channels that meet every algorithm of the cpu backend.

A row is conv(name, (N, H, W, C), (KH, KW), O, ...).
"""

from tests.cases import Case, normal
from tinynn.activation import Activation
from tinynn.layers.conv2d import Convolve2D
from tinynn.window import Window, same_padding

Pair = tuple[int, int]


def conv(
    name: str,
    x: tuple[int, int, int, int],
    size: Pair,
    filters: int,
    *,
    strides: Pair = (1, 1),
    padding: str | tuple[Pair, Pair] = "valid",
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "linear",
    bias: bool = True,
) -> Case:
    """One row; the longest sum is that of an output, of an input's gradient, or of the kernel's, over all places.

    The weights are drawn so that outputs are of size 1: a tanh of larger ones would only show their rounding errors.
    """
    if padding == "same":
        vertical, horizontal = map(same_padding, x[1:3], size, strides, dilation)
        padding = vertical, horizontal
    window = Window(size, strides, ((0, 0), (0, 0)) if isinstance(padding, str) else padding, dilation)
    rows, columns = window.output(x[1], x[2])
    area = size[0] * size[1]
    longest = max(area * x[3] // groups, area * filters // groups, x[0] * rows * columns)
    W = normal((*size, x[3] // groups, filters), scale=(area * x[3] // groups) ** -0.5)
    return Case(
        f"conv2d_{name}",
        lambda: Convolve2D(window, groups, Activation(activation)),
        (x, W, (filters,)) if bias else (x, W),
        reduction=longest,
    )


CASES = [
    # -- sizes -------------------------------------------------------------------------------------------------------
    conv("3x3", (2, 5, 6, 3), (3, 3), 4),
    conv("3x3_no_bias", (2, 5, 6, 3), (3, 3), 4, bias=False),
    conv("3x3_same", (2, 5, 4, 2), (3, 3), 3, padding="same"),
    conv("1x1", (2, 3, 5, 4), (1, 1), 3),
    conv("one_pixel", (3, 1, 1, 2), (1, 1), 3),
    conv("one_pixel_same", (1, 1, 1, 2), (3, 3), 3, padding="same"),
    conv("one_output", (2, 3, 5, 2), (3, 5), 1),
    conv("one_row", (1, 1, 9, 1), (1, 3), 2),
    conv("one_column", (1, 9, 1, 1), (3, 1), 2),
    conv("1x7", (1, 3, 9, 2), (1, 7), 3, padding="same"),
    conv("7x1", (1, 9, 3, 2), (7, 1), 3, padding="same"),
    conv("larger_than_the_image", (1, 2, 3, 2), (5, 7), 2, padding="same"),
    conv("5x5_one_channel", (1, 12, 12, 1), (5, 5), 32),
    conv("5x5_to_one", (1, 6, 7, 17), (5, 5), 1),
    # -- more padding than is looked at -------------------------------------------------------------------------------
    conv("left_of_all", (2, 4, 1, 8), (1, 1), 8, strides=(5, 5), padding=((0, 0), (2, 2))),
    conv("above_all", (2, 1, 4, 3), (1, 1), 4, strides=(5, 5), padding=((2, 2), (0, 0))),
    conv("around_all", (1, 4, 1, 3), (1, 1), 4, strides=(5, 5), padding=((2, 2), (2, 2))),
    conv("left_of_most", (1, 6, 2, 4), (3, 1), 8, strides=(1, 4), padding=((1, 1), (2, 0))),
    # -- padding -----------------------------------------------------------------------------------------------------
    conv("2x2_same", (2, 4, 5, 2), (2, 2), 3, padding="same"),
    conv("4x2_same", (1, 5, 5, 2), (4, 2), 3, padding="same"),
    conv("padding_by_sides", (1, 4, 5, 2), (3, 3), 3, padding=((2, 0), (1, 3))),
    conv("padding_beyond_the_kernel", (1, 2, 2, 2), (2, 2), 2, padding=((3, 2), (0, 4))),
    # -- strides -----------------------------------------------------------------------------------------------------
    conv("stride_2", (2, 7, 8, 3), (3, 3), 4, strides=(2, 2)),
    conv("stride_2_same", (2, 8, 7, 3), (3, 3), 4, strides=(2, 2), padding="same"),
    conv("stride_2x3", (1, 8, 10, 2), (3, 2), 3, strides=(2, 3)),
    conv("stride_3x1_same", (1, 8, 5, 2), (3, 3), 3, strides=(3, 1), padding="same"),
    conv("stride_2_even_same", (1, 7, 6, 2), (4, 2), 3, strides=(2, 2), padding="same"),
    conv("stride_beyond_the_kernel", (1, 8, 9, 2), (2, 2), 3, strides=(3, 3)),
    conv("stride_leaves_a_rest", (1, 6, 9, 2), (3, 3), 3, strides=(2, 4)),
    conv("1x1_stride_2", (2, 5, 6, 16), (1, 1), 32, strides=(2, 2)),
    conv("11x11_stride_4", (1, 23, 27, 3), (11, 11), 8, strides=(4, 4)),
    # -- dilation ----------------------------------------------------------------------------------------------------
    conv("dilation_2", (1, 7, 8, 2), (3, 3), 3, dilation=(2, 2)),
    conv("dilation_1x3_same", (1, 5, 8, 2), (2, 3), 3, dilation=(1, 3), padding="same"),
    conv("dilation_and_stride", (1, 9, 8, 2), (3, 2), 3, strides=(2, 3), dilation=(2, 3), padding=((1, 0), (2, 1))),
    # -- groups ------------------------------------------------------------------------------------------------------
    conv("groups_2", (2, 5, 5, 4), (3, 3), 6, groups=2),
    conv("groups_3_stride_2_same", (1, 5, 6, 9), (3, 3), 6, groups=3, strides=(2, 2), padding="same"),
    conv("groups_of_16", (1, 6, 6, 32), (3, 3), 64, groups=2, padding="same"),
    conv("depthwise", (2, 5, 6, 5), (3, 3), 5, groups=5, padding="same"),
    conv("depthwise_of_two", (1, 5, 5, 3), (3, 3), 6, groups=3),
    conv("depthwise_dilated", (1, 7, 7, 17), (3, 3), 17, groups=17, dilation=(2, 2), padding="same"),
    # -- channels: 3x3 with stride 1 and multiples of 16 is Winograd's -------------------------------------------------
    conv("3_to_16", (2, 7, 9, 3), (3, 3), 16, padding="same"),
    conv("3_to_32_relu", (1, 8, 8, 3), (3, 3), 32, padding="same", activation="relu"),
    conv("16_to_16", (2, 8, 8, 16), (3, 3), 16, padding="same"),
    conv("16_to_32_odd", (1, 7, 9, 16), (3, 3), 32, padding="same"),
    conv("32_to_16_valid", (1, 9, 6, 32), (3, 3), 16),
    conv("32_to_32_relu", (3, 5, 5, 32), (3, 3), 32, padding="same", activation="relu"),
    conv("16_to_48_one_sided", (1, 6, 5, 16), (3, 3), 48, padding=((2, 1), (0, 1))),
    conv("48_to_16_tanh", (1, 4, 4, 48), (3, 3), 16, padding="same", activation="tanh", bias=False),
    conv("48_to_48", (1, 9, 11, 48), (3, 3), 48, padding="same"),
    conv("16_to_16_one_pixel", (1, 1, 1, 16), (3, 3), 16, padding="same"),
    conv("16_to_16_two_rows", (1, 2, 3, 16), (3, 3), 16, padding="same"),
    conv("17_to_17", (1, 6, 7, 17), (3, 3), 17, padding="same"),
    conv("17_to_32", (1, 5, 7, 17), (3, 3), 32),
    conv("32_to_17_stride_2", (1, 8, 8, 32), (3, 3), 17, strides=(2, 2), padding="same"),
    conv("32_to_64_stride_2", (2, 8, 8, 32), (3, 3), 64, strides=(2, 2), padding="same"),
    conv("65_to_65", (1, 5, 6, 65), (3, 3), 65, padding="same"),
    conv("1_to_65", (2, 5, 5, 1), (3, 3), 65),
    conv("65_to_1", (2, 5, 5, 65), (3, 3), 1, padding="same"),
    conv("5x5_32_to_64", (1, 12, 12, 32), (5, 5), 64, activation="relu"),
    conv("1x1_65_to_32", (2, 4, 5, 65), (1, 1), 32, activation="relu"),
    conv("1x1_64_to_64", (1, 7, 7, 64), (1, 1), 64),
    conv("1x7_48_to_33", (1, 4, 9, 48), (1, 7), 33, padding="same"),
    # -- activations ---------------------------------------------------------------------------------------------------
    conv("relu", (2, 5, 6, 3), (3, 3), 4, activation="relu"),
    conv("leaky_relu", (2, 5, 6, 3), (3, 3), 4, activation="leaky_relu"),
    conv("tanh_stride_2", (2, 6, 7, 3), (3, 3), 4, strides=(2, 2), activation="tanh"),
    conv("relu_groups", (1, 5, 5, 4), (2, 2), 6, groups=2, activation="relu", bias=False),
    conv("relu_many_rows", (37, 4, 4, 3), (3, 3), 5, padding="same", activation="relu"),
]
