"""Elementary operations: broadcasting pairs, odd sizes, ties, every way to choose axes and to index."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case, constant, distinct, normal, positive, tied
from tinynn.ops import arithmetic, elementary, indexing, joining, products, reductions, shape

PAIRS = {
    "same": ((3, 5), (3, 5)),
    "row": ((3, 5), (5,)),
    "column": ((3, 1), (4, 3, 5)),
    "outer": ((3, 1), (1, 4)),
    "scalar": ((), (2, 3)),
    "scalars": ((), ()),
}


def pairs(function: type, name: str, draw: Any) -> list[Case]:
    """A function of two operands at every pair of shapes."""
    return [Case(f"{name}_{kind}", function, (draw(x), draw(y))) for kind, (x, y) in PAIRS.items()]


def routed(larger: bool) -> Any:
    """Of two equal values the first operand takes the gradient."""

    def gradients(dz: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = x >= y if larger else x <= y
        return dz * first, dz * ~first

    return gradients


def first_largest(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Of equal values in a row the first takes the gradient."""
    dx = np.zeros_like(x)
    for n, row in enumerate(x):
        dx[n, list(row).index(max(row))] = dy[n]
    return (dx,)


def added_up(index: Any) -> Any:
    """What was taken several times adds up its gradients."""

    def gradients(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
        dx = np.zeros_like(x)
        np.add.at(dx, index, dy)
        return (dx,)

    return gradients


AXES: dict[str, Any] = {"all": None, "0": 0, "1": 1, "last": -1, "02": (0, 2), "none": ()}
REDUCTIONS: dict[str, Any] = {
    "sum": (reductions.Sum, positive),
    "mean": (reductions.Mean, positive),
    "max": (reductions.Max, distinct),
    "min": (reductions.Min, distinct),
}

VIEWS: dict[str, Any] = {
    "number": 2,
    "slice": slice(1, None, 2),
    "backwards": (slice(None), slice(None, None, -1)),
    "mixed": (Ellipsis, None, 1),
    "element": (1, 2, 3),
}
ARRAYS: dict[str, Any] = {
    "integers": (np.array([2, 0, 1]),),
    "repeated": (np.array([[1, 1, 1, 1, 1], [3, 1, 3, 0, 1]]),),
    "negative": (np.array([-1, 3, -1]),),
    "pairs": (np.array([0, 1, 0]), np.array([2, 2, 2])),
    "apart": (np.array([0, 1, 0]), slice(1, 3), np.array([2, 2, 2])),
    "column": (slice(None), np.array([1, 1])),
    "mask": (np.arange(12).reshape(4, 3) % 2 == 0,),
    "mask_last": (Ellipsis, np.array([True, False, False, True, True])),
    "nothing": (np.zeros(4, bool),),
}

CASES = [
    *pairs(arithmetic.Add, "add", normal),
    *pairs(arithmetic.Subtract, "subtract", normal),
    *pairs(arithmetic.Multiply, "multiply", normal),
    *pairs(arithmetic.Divide, "divide", positive),
    *pairs(arithmetic.Power, "power", positive),
    Case("negative", arithmetic.Negative, ((3, 5),)),
    Case("power_2", lambda: arithmetic.PowerConstant(2), ((3, 5),)),
    Case("power_cube", lambda: arithmetic.PowerConstant(3.0), ((1,),)),
    Case("power_root", lambda: arithmetic.PowerConstant(0.5), (positive((3, 5)),)),
    Case("power_inverse", lambda: arithmetic.PowerConstant(-1), (positive((3, 5)),)),
    Case("power_0", lambda: arithmetic.PowerConstant(0), (constant([-1.0, 0.0, 2.0]),)),
    Case("maximum_row", arithmetic.Maximum, (distinct((4, 5)), constant([-0.52, -0.21, 0.01, 0.33, 0.52]))),
    Case("minimum_row", arithmetic.Minimum, (distinct((4, 5)), constant([-0.52, -0.21, 0.01, 0.33, 0.52]))),
    Case("maximum_ties", arithmetic.Maximum, (tied((5, 7)), tied((5, 7))), ties=True, expected=routed(True)),
    Case("minimum_ties", arithmetic.Minimum, (tied((5, 7)), tied((5, 7))), ties=True, expected=routed(False)),
    Case("exp", elementary.Exp, ((3, 5),)),
    Case("log", elementary.Log, (positive((3, 5)),)),
    Case("sqrt", elementary.Sqrt, (positive((3, 5)),)),
    Case("square", elementary.Square, ((3, 5),)),
    Case("absolute", elementary.Absolute, ((3, 5),), kinks=True),
    Case("clip", lambda: elementary.Clip(-0.5, 1.0), (normal((3, 5), away_from=(-0.5, 1.0)),)),
    Case("clip_below", lambda: elementary.Clip(0.0, None), ((3, 5),), kinks=True),
    Case("where", lambda: elementary.Where([[True, False, True], [False, False, True]]), ((2, 3), (3,))),
    Case("where_scalar", lambda: elementary.Where([True, False, True]), ((), (3,))),
    *(
        Case(f"{name}_{axes}{'_kept' * keep}", lambda f=f, axis=axis, keep=keep: f(axis, keep), (draw((3, 4, 5)),))
        for name, (f, draw) in REDUCTIONS.items()
        for axes, axis in AXES.items()
        for keep in (False, True)
    ),
    *(Case(f"{name}_of_one", f, ((),)) for name, (f, _) in REDUCTIONS.items()),
    Case("max_ties", lambda: reductions.Max(1), (tied((6, 9)),), ties=True, expected=first_largest),
    Case("reshape", lambda: shape.Reshape((5, -1)), ((3, 10),)),
    Case("reshape_to_number", lambda: shape.Reshape(()), ((1, 1),)),
    Case("transpose", shape.Transpose, ((3, 4, 5),)),
    Case("transpose_axes", lambda: shape.Transpose((2, 0, 1)), ((3, 4, 5),)),
    Case("transpose_negative_axes", lambda: shape.Transpose((0, -1, 1)), ((3, 4, 5),)),
    Case("broadcast_to", lambda: shape.BroadcastTo((2, 3, 5)), ((3, 1),)),
    *(Case(f"view_{name}", lambda index=index: indexing.GetItem(index), ((4, 3, 5),)) for name, index in VIEWS.items()),
    *(
        Case(f"gather_{name}", lambda index=index: indexing.Gather(index), ((4, 3, 5),), expected=added_up(index))
        for name, index in ARRAYS.items()
    ),
    Case("matmul", products.Matmul, ((3, 4), (4, 5))),
    Case("matmul_large", products.Matmul, ((67, 33), (33, 41))),
    Case("matmul_row", products.Matmul, ((4,), (4, 5))),
    Case("matmul_column", products.Matmul, ((3, 4), (4,))),
    Case("matmul_vectors", products.Matmul, ((4,), (4,))),
    Case("matmul_stack", products.Matmul, ((2, 3, 4), (2, 4, 5))),
    Case("matmul_shared", products.Matmul, ((2, 3, 4), (4, 5))),
    Case("matmul_broadcast", products.Matmul, ((7, 1, 3, 4), (2, 4, 5))),
    Case("matmul_stack_column", products.Matmul, ((2, 3, 4), (4,))),
    Case("concatenate", joining.Concatenate, ((3, 4), (1, 4), (2, 4))),
    Case("concatenate_last", lambda: joining.Concatenate(-1), ((2, 3, 1), (2, 3, 4))),
    Case("concatenate_one", joining.Concatenate, ((3,),)),
    Case("stack", joining.Stack, ((3, 4), (3, 4), (3, 4))),
    Case("stack_last", lambda: joining.Stack(-1), ((3, 4), (3, 4))),
    Case("stack_numbers", joining.Stack, ((), ())),
]
