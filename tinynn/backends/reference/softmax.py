"""Softmax and the cross-entropies of logits: rows x (N, C), labels (N,), one loss per row (N,)."""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array


def forward(y: Array, x: Array) -> None:
    """y = exp(x - max) / sum exp(x - max): without the maximum, exp(89) is already infinite in float32."""
    np.subtract(x, np.max(x, axis=1, keepdims=True), out=y)
    np.exp(y, out=y)
    np.divide(y, np.sum(y, axis=1, keepdims=True), out=y)


def backward(dx: Array, dy: Array, y: Array) -> None:
    """dx = y (dy - sum(dy y))"""
    inner = np.sum(dy * y, axis=1, keepdims=True)
    np.subtract(dy, inner, out=dx)
    np.multiply(dx, y, out=dx)


def shifted(p: Array, x: Array) -> tuple[Array, Array]:
    """p = softmax(x); returned are z = x - max and log sum exp z (N, 1), so that log softmax = z - log sum."""
    z = x - np.max(x, axis=1, keepdims=True)
    np.exp(z, out=p)
    total = np.sum(p, axis=1, keepdims=True)
    np.divide(p, total, out=p)
    return z, np.log(total)


def cross_entropy(rows: Array, p: Array, x: Array, target: Array) -> None:
    """rows = -sum_c target log softmax(x)"""
    z, log_total = shifted(p, x)
    np.sum(target * (log_total - z), axis=1, out=rows)


def cross_entropy_backward(dx: Array, drows: Array, p: Array, target: Array) -> None:
    """dx = drows (p sum(target) - target)"""
    np.multiply(p, np.sum(target, axis=1, keepdims=True), out=dx)
    np.subtract(dx, target, out=dx)
    np.multiply(dx, drows[:, None], out=dx)


def sparse_cross_entropy(rows: Array, p: Array, x: Array, labels: Array) -> None:
    """rows = -log softmax(x)[label], and 0 for a negative label"""
    z, log_total = shifted(p, x)
    chosen = np.take_along_axis(z, np.maximum(labels, 0)[:, None], axis=1)
    rows[...] = np.where(labels < 0, x.dtype.type(0), (log_total - chosen)[:, 0])


def sparse_cross_entropy_backward(dx: Array, drows: Array, p: Array, labels: Array) -> None:
    """dx = drows (p - onehot(label)), and 0 for a negative label"""
    classes = np.cumsum(np.ones_like(labels, shape=p.shape[1:])) - 1
    np.subtract(p, labels[:, None] == classes, out=dx)
    np.multiply(dx, np.where(labels < 0, p.dtype.type(0), drows)[:, None], out=dx)


def binary_cross_entropy(loss: Array, x: Array, target: Array) -> None:
    """loss = max(x, 0) - x target + log(1 + exp(-|x|))"""
    loss[...] = np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x)))


def binary_cross_entropy_backward(dx: Array, dloss: Array, x: Array, target: Array) -> None:
    """dx = dloss (sigmoid(x) - target), the sigmoid as z / (1 + z) or 1 / (1 + z) with z = exp(-|x|) <= 1"""
    z = np.exp(-np.abs(x))
    np.subtract(np.where(x < 0, z, x.dtype.type(1)) / (1 + z), target, out=dx)
    np.multiply(dx, dloss, out=dx)
