"""Broadcasting backward: what was repeated on the way forward is summed on the way back."""

from __future__ import annotations

from tinynn.typing import Array, Shape


def unbroadcast(gradient: Array, shape: Shape) -> Array:
    """The gradient of an array of this shape that was broadcast to ``gradient.shape``: the sum over its copies.

    >>> import numpy as np
    >>> unbroadcast(np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    >>> unbroadcast(np.ones((2, 3)), (2, 1))
    array([[3.],
           [3.]])

    The very same array comes back where nothing was repeated.
    """
    if gradient.shape == shape:
        return gradient
    new = gradient.ndim - len(shape)
    axes = tuple(k for k, n in enumerate(gradient.shape) if k < new or shape[k - new] != n)
    return gradient.sum(axis=axes, keepdims=True).reshape(shape)
