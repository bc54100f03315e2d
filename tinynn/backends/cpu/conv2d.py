"""Conv2D on the CPU: which algorithm for which shape, and what it is told.

Float32 only; float64, which is for checks, and images of nothing go to the reference.
"""

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import conv2d as reference
from tinynn.window import Window

from . import direct, follow, memory, tasks
from .blocks import BACKWARD, FORWARD, OUTPUTS, backward_tasks, follow_tasks, forward_tasks
from .follow import FOLLOW
from .gemm import column_sums
from .images import KINDS
from .layout import layout, unit_of
from .simd import BLOCK
from .tasks import job

FLOAT = 4
SERIAL_BELOW = 200_000
"""Multiply-adds below which the start of a parallel region costs more than it gives."""


class Convolution:
    """One call: its arrays, its cut, and the jobs for them.

    x (N, H, W, C), W (KH, KW, C / groups, O), y (N, OH, OW, O); of y and dy only the shape is looked at, or not even
    that where there is only a pooled result.
    """

    def __init__(self, x, W, window, groups, fast, pool=None):
        self.x, self.W = np.ascontiguousarray(x), np.ascontiguousarray(W)
        self.window, self.groups, self.pool = window, groups, pool
        self.N, self.H, self.columns, self.C = x.shape
        self.O = W.shape[3]
        self.OH, self.OW = window.output(self.H, self.columns)
        apart = pool is not None and (pool.size[0] > pool.strides[0] or pool.padded)
        stride = 1 if pool is None else 0 if apart else pool.strides[0]
        self.cut = layout(*x.shape, self.O, window, groups, fast, stride)
        self.size = self.N * self.OH * self.OW * self.O * W[..., 0].size
        self.keep = []
        """Arrays whose addresses stand in a job."""

    # -- what algorithms are told --------------------------------------------------------------------------------------

    def shape(self, variant, images, outputs, *, weights=0, bias=0, floor=0, more=(), turned=False):
        """The list that ``load_shape`` of direct.py, or Winograd's variant, reads: ``images`` are the inputs as (bytes
        of a row, of a pixel), ``outputs`` (columns, bytes of a row, of a pixel); turned: from the outputs' channels to
        the inputs'.
        """
        w, C, O = self.window, self.C, self.O
        channels = (O, C) if turned else (C, O)
        if variant:
            more = (variant.group_tiles(C, O),)
        fields = (
            *w.size,
            *channels,
            self.groups,
            *w.strides,
            *w.dilation,
            *images,
            *outputs,
            weights,
            bias,
            floor,
            *more,
        )
        array = np.zeros(direct.SHAPE_FIELDS, np.int64)
        array[: len(fields)] = fields
        self.keep.append(array)
        return array.ctypes.data

    def empty(self, size):
        array = memory.empty((size,), np.float32)
        self.keep.append(array)
        return array

    def packed(self, variant, bias=None, flipped=False):
        """(address of the weights as the algorithm wants them, address of the bias)"""
        W, groups = self.W, self.groups
        if variant:
            U = self.empty(variant.packed_size(self.C, self.O))
            variant.transform_weights(U, W, flipped)
            return U.ctypes.data, self.address(bias)
        KH, KW, C, O = W.shape
        if flipped:
            array = self.empty(direct.packed_size(KH * KW * O // groups, C, groups))
            direct.pack_transposed(array, W, groups)
            return array.ctypes.data, 0
        size = direct.packed_size(KH * KW * C, O // groups, groups)
        array = self.empty(size + direct.packed_size(1, O // groups, groups))
        direct.pack_weights(array, W, bias, groups)
        return array.ctypes.data, 0 if bias is None else array.ctypes.data + size * FLOAT

    def address(self, array):
        """Of a contiguous array that lives as long as this call; 0 for None."""
        if array is None:
            return 0
        array = np.ascontiguousarray(array)
        self.keep.append(array)
        return array.ctypes.data

    def x_strides(self):
        """Bytes of a row and of a pixel of the inputs that an algorithm reads."""
        return (self.cut.columns if self.cut.copies else self.columns) * self.C * FLOAT, self.C * FLOAT

    def inputs(self):
        """The fields of a job about x."""
        (top, _), (left, _) = self.window.padding
        return {
            "images": self.N, "per_block": self.cut.per_block, "x": self.x.ctypes.data,
            "x_image": self.H * self.columns * self.C * FLOAT, "x_row": self.columns * self.C * FLOAT,
            "H": self.H, "W": self.columns, "C": self.C, "top": top, "left": left, "copies": self.cut.copies,
            "columns": self.cut.columns, "OH": self.OH,
        }  # fmt: skip

    # -- what follows --------------------------------------------------------------------------------------------------

    def follow(self, activation, y=None, z=None, dz=None, place=None, **addresses):
        """The address of the list that follow.py reads."""
        row = self.OW * self.O * FLOAT
        values = {
            "y_image": self.OH * row, "y_row": row, "OH": self.OH, "OW": self.OW, "O": self.O,
            "kind": KINDS[activation], **addresses,
        }  # fmt: skip
        for name, array in (("y", y), ("z", z), ("dz", dz), ("place", place)):
            if array is not None:
                values |= images(name, array)
        if self.pool is not None:
            (top, _), (left, _) = self.pool.padding
            rows, columns = self.pool.output(self.OH, self.OW)
            values |= {
                "pool_rows": rows, "pool_columns": columns, "KH": self.pool.size[0], "KW": self.pool.size[1],
                "SH": self.pool.strides[0], "SW": self.pool.strides[1], "pool_top": top, "pool_left": left,
            }  # fmt: skip
        array = job(FOLLOW, values)
        self.keep.append(array)
        return array.ctypes.data

    def pairs(self):
        """Whether the pool is of 2 x 2, side by side, and covers the outputs: the fast case."""
        plain = Window((2, 2), (2, 2))
        return self.pool == plain and self.OH % 2 == 0 and self.OW % 2 == 0

    # -- forward -------------------------------------------------------------------------------------------------------

    def forward(self, y, bias, floor=False, after=None, follow=0):
        """y = conv(x) + bias (and not below 0), then what follows; y is None where that alone is kept."""
        cut = self.cut
        weights, bias_place = self.packed(cut.variant, bias)
        row = self.OW * self.O * FLOAT
        outputs = self.OW, row, self.O * FLOAT
        shape = self.shape(cut.variant, self.x_strides(), outputs, weights=weights, bias=bias_place, floor=floor)
        algorithm = (cut.variant or direct).forward_block
        values = self.inputs() | {
            "algorithm": algorithm(), "shape": shape, "strips": cut.strips, "strip_rows": cut.strip_rows,
            "unit": unit_of(cut.variant), "stride": self.window.strides[0], "reach": self.window.extent[0],
            "y": 0 if y is None else y.ctypes.data, "y_image": self.OH * row, "y_row": row, "y_place": cut.strip_bytes,
            "work_place": cut.strip_bytes + (cut.output_bytes if y is None else 0),
            "after": 0 if after is None else after(), "follow": follow,
        }  # fmt: skip
        self.run(forward_tasks, cut.blocks * cut.strips, job(FORWARD, values), values["work_place"] + cut.work_bytes)

    def again(self, function, count, follow, y, scratch=0):
        """What follows, for outputs that are there: ``count`` pieces of blocks."""
        values = {
            "images": self.N, "per_block": self.cut.per_block, "blocks": self.cut.blocks, "pieces": count,
            "y": y.ctypes.data, "y_image": y[0].nbytes, "OH": self.OH, "scratch": scratch,
            "after": function(), "follow": follow,
        }  # fmt: skip
        tasks.run(follow_tasks(), count, job(OUTPUTS, values), scratch * FLOAT, serial=y.size < SERIAL_BELOW)

    # -- backward ------------------------------------------------------------------------------------------------------

    def backward(self, dx, dW, db, dy=None, before=None, follow=0):
        """The gradients, of dy as it lies, or as ``before`` makes it block by block."""
        cut, variant = self.cut, self.cut.variant
        (top, _), (left, _) = self.window.padding
        border = cut.inputs_variant.taps - 1 if cut.inputs_variant else 0
        pixel = self.O * FLOAT
        columns, rows = (self.OW, self.OH) if before is None else (cut.gradient_columns, cut.gradient_rows)
        row = columns * pixel
        values = self.inputs() | {
            "blocks": cut.blocks, "pieces": cut.pieces, "padded_rows": cut.padded_rows(self.OH, self.window),
            "OW": self.OW, "O": self.O, "target_place": cut.x_bytes, "target_row": row, "target_rows": rows,
            "target_top": border and border - top, "target_left": border and border - left,
            "work_place": cut.x_bytes + (0 if before is None else cut.gradient_bytes),
            "before": 0 if before is None else before(), "follow": follow,
        }  # fmt: skip
        if before is None:
            values |= images("dy", dy)
        if dW is not None:
            size = variant.packed_size(self.C, self.O) if variant else dW.size
            sums = self.empty(cut.pieces * size).reshape(cut.pieces, size)
            simple = direct.weights_algorithm(self.window, self.C, self.groups)
            algorithm = variant.weights_block if variant else simple
            values |= {
                "weights": algorithm(), "dW": sums.ctypes.data, "dW_bytes": size * FLOAT,
                "weights_shape": self.shape(variant, self.x_strides(), (self.OW, row, pixel)),
            }  # fmt: skip
        if db is not None:
            bias_sums = self.empty(cut.pieces * self.O).reshape(cut.pieces, self.O)
            values["db"] = bias_sums.ctypes.data
        if dx is not None:
            values |= self.inputs_gradient(dx, row, pixel)
        self.run(backward_tasks, cut.pieces, job(BACKWARD, values), values["work_place"] + cut.work_bytes)
        if dW is not None and variant:
            variant.finish_weights(dW, sums.reshape(cut.pieces, variant.products, self.C, self.O))
        elif dW is not None:
            column_sums(dW.reshape(-1), sums)
        if db is not None:
            np.add.reduce(bias_sums, axis=0, out=db)

    def inputs_gradient(self, dx, row, pixel):
        """The fields of a job that say how dx is made of dy, whose rows and pixels are so many bytes apart."""
        variant = self.cut.inputs_variant
        weights, _ = self.packed(variant, flipped=True)
        dx_row, dx_pixel = self.columns * self.C * FLOAT, self.C * FLOAT
        values = {"dx": dx.ctypes.data, "dx_image": self.H * dx_row}
        if variant:  # the convolution of dy, with borders, by the weights turned by 180 degrees
            outputs = self.columns, dx_row, dx_pixel
            shape = self.shape(variant, (row, pixel), outputs, weights=weights, turned=True)
            return values | {"inputs": variant.forward_block(), "inputs_shape": shape}
        (top, _), (left, _) = self.window.padding
        more = top, left, self.columns, self.OH
        shape = self.shape(None, (dx_row, dx_pixel), (self.OW, row, pixel), weights=weights, more=more)
        return values | {"inputs": direct.inputs_block(), "inputs_shape": shape, "accumulates": True}

    def gradient_in_place(self):
        """Whether dy can be read as it lies: no borders wanted, and no reading behind its end."""
        return not self.cut.inputs_variant and self.O // self.groups % BLOCK.lanes == 0

    def run(self, function, count, values, work_bytes):
        tasks.run(function(), count, values, work_bytes, serial=self.size < SERIAL_BELOW)


def images(name, array):
    """The fields of a job about a contiguous array (N, rows, columns, channels)."""
    _, rows, columns, channels = array.shape
    row = columns * channels * array.itemsize
    return {name: array.ctypes.data, f"{name}_image": rows * row, f"{name}_row": row}


def forward(y, x, W, b, window, groups, activation, fast):
    """y = activation(conv(x) + b)"""
    if y.itemsize != FLOAT or x.size == 0:
        reference.forward(y, x, W, b, window, groups, activation, fast)
        return
    call = Convolution(x, W, window, groups, fast)
    if activation in (Activation.LINEAR, Activation.RELU):
        call.forward(y, b, floor=activation is Activation.RELU)
    else:
        call.forward(y, b, after=follow.activate_after, follow=call.follow(activation))


def backward(dx, dW, db, dy, x, W, y, window, groups, activation, fast):
    """The gradients; dy stays as it was."""
    if y.itemsize != FLOAT or x.size == 0:
        reference.backward(dx, dW, db, dy, x, W, y, window, groups, activation, fast)
        return
    call = Convolution(x, W, window, groups, fast)
    dy = np.ascontiguousarray(dy)
    if activation is Activation.LINEAR and call.gradient_in_place():
        call.backward(dx, dW, db, dy)
    else:
        z = np.ascontiguousarray(y)
        call.backward(dx, dW, db, before=follow.gradient_before, follow=call.follow(activation, z=z, dz=dy))
