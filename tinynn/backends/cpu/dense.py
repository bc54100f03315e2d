"""Dense on the CPU: three products of our own, the bias inside the first, the activation in one pass after it."""

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.cpu import activation as activations
from tinynn.backends.cpu.gemm import column_sums, gemm

LINEAR = Activation.LINEAR


def forward(y, x, W, b, activation):
    """y = activation(x W + b)"""
    bias = None if b is None else np.ascontiguousarray(b)
    gemm(y, np.ascontiguousarray(x), np.ascontiguousarray(W), bias=bias)
    if activation is not LINEAR:
        activations.forward(y, y, activation)


def backward(dx, dW, db, dy, x, W, y, activation):
    """dz = dy activation'(y); dx = dz W', dW = x' dz, db = column sums of dz. dy is overwritten."""
    dy = np.ascontiguousarray(dy)
    if activation is not LINEAR:
        activations.backward(dy, dy, None, y, activation)
    if dx is not None:
        gemm(dx, dy, np.ascontiguousarray(W), transpose_b=True)
    if dW is not None:
        gemm(dW, np.ascontiguousarray(x), dy, transpose_a=True)
    if db is not None:
        column_sums(db, dy)
