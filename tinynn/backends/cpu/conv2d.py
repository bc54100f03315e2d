"""Conv2D on the CPU: which algorithm for which shape, and what it is told.

Float32 only; float64, which is for checks, and images of nothing go to the reference.
"""

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import conv2d as reference

from . import direct, memory, tasks, winograd
from .blocks import BACKWARD, FORWARD, backward_tasks, forward_tasks, job
from .gemm import column_sums
from .images import KINDS, RELU
from .layout import layout
from .simd import BLOCK

FLOAT = 4
SERIAL_BELOW = 200_000
"""Multiply-adds below which the start of a parallel region costs more than it gives."""
NO_BIAS = np.zeros(0, np.float32)


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

    def shape(self, images, outputs, *, weights=0, bias=0, floor=0, more=(), turned=False):
        """The list that ``load_shape`` of direct.py reads: ``images`` are the inputs as (bytes of a row, of a pixel),
        ``outputs`` (columns, bytes of a row, of a pixel); turned: from the outputs' channels to the inputs'.
        """
        w, C, O = self.window, self.C, self.O
        channels = (O, C) if turned else (C, O)
        if self.cut.tile:
            more = (winograd.group_tiles(C, O, self.cut.tile),)
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

    def packed(self, bias, flipped=False):
        """(address of the weights as the algorithm wants them, address of the bias)"""
        m, W, groups = self.cut.tile, self.W, self.groups
        if m:
            U = self.empty(winograd.packed_size(self.C, self.O, m))
            winograd.transform_weights(U, W, flipped, m)
            return U.ctypes.data, self.address(bias)
        KH, KW, C, O = W.shape
        if flipped:
            array = self.empty(direct.packed_size(KH * KW * O // groups, C, groups))
            direct.pack_transposed(array, W, groups)
            return array.ctypes.data, 0
        size = direct.packed_size(KH * KW * C, O // groups, groups)
        array = self.empty(size + direct.packed_size(1, O // groups, groups))
        direct.pack_weights(array, W, NO_BIAS if bias is None else np.ascontiguousarray(bias), groups)
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
            "columns": self.cut.columns, "OH": self.OH, "OW": self.OW, "O": self.O,
        }  # fmt: skip

    def pooling(self, z, place):
        """The fields of a job about the pool."""
        if self.pool is None:
            return {}
        _, PH, PW, O = z.shape
        (top, _), (left, _) = self.pool.padding
        values = {
            "pool_rows": PH, "pool_columns": PW, "KH": self.pool.size[0], "KW": self.pool.size[1],
            "SH": self.pool.strides[0], "SW": self.pool.strides[1], "pool_top": top, "pool_left": left,
        }  # fmt: skip
        if place is not None:
            values |= {"place": place.ctypes.data, "place_image": PH * PW * O, "place_row": PW * O}
        return values | images("z", z)

    # -- forward -------------------------------------------------------------------------------------------------------

    def forward(self, y, bias, activation, z=None, place=None, moments=None):
        """y = activation(conv(x) + b), or z = pool of that, where y may be None; or the moments of y, see images.py."""
        cut, kind = self.cut, KINDS[activation]
        floor = kind == RELU and z is None
        weights, bias_place = self.packed(bias)
        row = self.OW * self.O * FLOAT
        shape = self.shape(
            self.x_strides(), (self.OW, row, self.O * FLOAT), weights=weights, bias=bias_place, floor=floor
        )
        algorithm = {0: direct.forward_block, 2: winograd.forward_block_2, 4: winograd.forward_block_4}[cut.tile]
        values = self.inputs() | self.pooling(z, place) | {
            "algorithm": algorithm(), "shape": shape, "strips": cut.strips, "strip_rows": cut.strip_rows,
            "unit": cut.tile or 1, "stride": self.window.strides[0], "reach": self.window.extent[0],
            "y_image": self.OH * row, "y_row": row, "y_place": cut.strip_bytes, "kind": 0 if floor else kind,
            "work_place": cut.strip_bytes + (cut.output_bytes if y is None else 0),
        }  # fmt: skip
        if y is not None:
            values["y"] = y.ctypes.data
        if moments is not None:
            values["means"], values["squares"] = (m.ctypes.data for m in moments)
        self.run(forward_tasks, cut.blocks * cut.strips, job(FORWARD, values), values["work_place"] + cut.work_bytes)

    # -- backward ------------------------------------------------------------------------------------------------------

    def backward(self, dx, dW, db, source):
        """The gradients; ``source``: the fields of the job that say how dy is made, or (fresh 0) where it lies."""
        cut, m = self.cut, self.cut.tile
        (top, _), (left, _) = self.window.padding
        pixel = self.O * FLOAT
        columns = cut.gradient_columns if source["fresh"] else self.OW
        target_rows = cut.gradient_rows if source["fresh"] else self.OH
        row = columns * pixel
        values = self.inputs() | {
            "blocks": cut.blocks, "pieces": cut.pieces, "padded_rows": cut.padded_rows(self.OH, self.window),
            "target_place": cut.x_bytes, "target_row": row, "target_rows": target_rows,
            "target_top": 2 - top if m else 0, "target_left": 2 - left if m else 0,
            "work_place": cut.x_bytes + (cut.gradient_bytes if source["fresh"] else 0),
        } | source  # fmt: skip
        if dW is not None:
            size = winograd.packed_size(self.C, self.O, m) if m else dW.size
            sums = self.empty(cut.pieces * size).reshape(cut.pieces, size)
            algorithm = {0: direct.weights_block, 2: winograd.weights_block_2, 4: winograd.weights_block_4}[m]
            values |= {
                "weights": algorithm(), "dW": sums.ctypes.data, "dW_bytes": size * FLOAT,
                "weights_shape": self.shape(self.x_strides(), (self.OW, row, pixel)),
            }  # fmt: skip
        if db is not None:
            bias_sums = self.empty(cut.pieces * self.O).reshape(cut.pieces, self.O)
            values["db"] = bias_sums.ctypes.data
        if dx is not None:
            weights, _ = self.packed(None, flipped=True)
            dx_row, dx_pixel = self.columns * self.C * FLOAT, self.C * FLOAT
            values |= images("dx", dx)
            if m:  # the convolution of dy, with borders, by the weights turned by 180 degrees
                outputs = self.columns, dx_row, dx_pixel
                values["inputs"] = (winograd.forward_block_2 if m == 2 else winograd.forward_block_4)()
                values["inputs_shape"] = self.shape((row, pixel), outputs, weights=weights, turned=True)
            else:
                more = top, left, self.columns, self.OH
                values["inputs"], values["accumulates"] = direct.inputs_block(), True
                values["inputs_shape"] = self.shape(
                    (dx_row, dx_pixel), (self.OW, row, pixel), weights=weights, more=more
                )
        self.run(backward_tasks, cut.pieces, job(BACKWARD, values), values["work_place"] + cut.work_bytes)
        if dW is not None and m:
            winograd.finish_weights(dW, sums.reshape(cut.pieces, (m + 2) ** 2, self.C, self.O), m)
        elif dW is not None:
            column_sums(dW.reshape(-1), sums)
        if db is not None:
            np.add.reduce(bias_sums, axis=0, out=db)

    def gradient_in_place(self):
        """Whether dy can be read as it lies: no borders wanted, and no reading behind its end."""
        return not self.cut.tile and self.O // self.groups % BLOCK.lanes == 0

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
    Convolution(x, W, window, groups, fast).forward(y, b, activation)


def backward(dx, dW, db, dy, x, W, y, window, groups, activation, fast):
    """The gradients; dy stays as it was."""
    if y.itemsize != FLOAT or x.size == 0:
        reference.backward(dx, dW, db, dy, x, W, y, window, groups, activation, fast)
        return
    call = Convolution(x, W, window, groups, fast)
    dy = np.ascontiguousarray(dy)
    if activation is Activation.LINEAR and call.gradient_in_place():
        source = {"fresh": 0, **images("dy", dy)}
    else:
        source = {"fresh": 1, "kind": KINDS[activation], **images("dz", dy), **images("z", np.ascontiguousarray(y))}
    call.backward(dx, dW, db, source)
