"""Activations and softmax: every kind, odd sizes, one number, several axes; kinks on purpose."""

from __future__ import annotations

import numpy as np

from tests.cases import Case, constant, normal
from tinynn.activation import Activation
from tinynn.ops import activations as a

KINKS = {Activation.HARD_SIGMOID: (-3.0, 3.0)}
"""Where a derivative jumps, if not at 0."""

AT_ZERO = {a.Relu, a.LeakyRelu, a.Selu}


def sizes(function: type[a.Activate]) -> list[Case]:
    """One number, a row that fills no vector register, an image; large enough values to saturate."""
    kind = function.kind
    points = KINKS.get(kind, (0.0,) if function in AT_ZERO else ())
    return [
        Case(f"{kind}_one", function, (normal((1,), away_from=points),)),
        Case(f"{kind}_odd", function, (normal((3, 37), away_from=points),)),
        Case(f"{kind}_wide", function, (normal((2, 5, 3, 7), scale=3.0, away_from=points),)),
    ]


def at_kinks(function: type[a.Activate], x: list[float], slopes: list[float]) -> Case:
    """At its kink an activation has the smaller of the two derivatives."""
    return Case(
        f"{function.kind}_kinks",
        function,
        (constant(x),),
        ties=True,
        expected=lambda dy, x: (dy * np.array(slopes),),
    )


def softmax_gradient(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """By the Jacobian diag(y) - y y'."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    jacobian = y[..., :, None] * np.eye(x.shape[-1]) - y[..., :, None] * y[..., None, :]
    return (np.einsum("nij,nj->ni", jacobian, dy),)


CASES = [
    *(case for function in a.BY_KIND.values() for case in sizes(function)),
    Case("leaky_relu_slope", lambda: a.LeakyRelu(0.01), (normal((5, 13), away_from=(0.0,)),)),
    Case("leaky_relu_flat", lambda: a.LeakyRelu(0.0), (normal((5, 13), away_from=(0.0,)),)),
    Case("elu_scale", lambda: a.Elu(0.5), (normal((5, 13), away_from=(0.0,)),)),
    Case("tanh_parallel", a.Tanh, (lambda rng: rng.standard_normal((250, 801)),)),
    Case("relu_parallel", a.Relu, (normal((250, 801), away_from=(0.0,)),)),
    at_kinks(a.Relu, [-1.0, 0.0, 2.0], [0.0, 0.0, 1.0]),
    at_kinks(a.LeakyRelu, [-1.0, 0.0, 2.0], [0.2, 0.2, 1.0]),
    at_kinks(a.HardSigmoid, [-4.0, -3.0, 0.0, 3.0, 4.0], [0.0, 0.0, 1 / 6, 0.0, 0.0]),
    Case("sigmoid_extreme", a.Sigmoid, (constant([-800.0, -90.0, -20.0, 20.0, 90.0, 800.0]),)),
    Case("softplus_extreme", a.Softplus, (constant([-800.0, -90.0, -20.0, 20.0, 90.0, 800.0]),)),
    Case("softmax", a.Softmax, ((7, 10),), expected=softmax_gradient),
    Case("softmax_vector", a.Softmax, ((5,),)),
    Case("softmax_one_class", a.Softmax, ((4, 1),)),
    Case("softmax_images", a.Softmax, ((2, 3, 5, 4),)),
    Case("softmax_first_axis", lambda: a.Softmax(0), ((6, 3),)),
    Case("softmax_middle_axis", lambda: a.Softmax(1), ((2, 5, 3),)),
    Case("softmax_large", a.Softmax, (constant([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]]),)),
    Case("log_softmax", a.LogSoftmax, ((7, 10),)),
    Case("log_softmax_middle_axis", lambda: a.LogSoftmax(-2), ((2, 5, 3),)),
]
