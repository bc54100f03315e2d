"""Gradient checking: every hand-written backward against central differences in float64.

    gradcheck.check(Affine, x, W, b)                       # a Function: its class, a factory, or a fresh instance
    gradcheck.check(Dense(3, activation="tanh"), x)        # a Layer: its inputs and its parameters
    gradcheck.check(model, x_train[:4], y_train[:4])       # a whole compiled model: its parameters

``check`` walks over the arrays; ``problems`` makes a loss of whatever is checked, ``differences`` takes derivatives
from values, ``mistakes`` names what probably went wrong.
"""

from tinynn.models.gradcheck.check import GradientError, Row, check, table

__all__ = ["GradientError", "Row", "check", "table"]
