"""Means and covariances of images, summed in float64, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np


class Moments:
    """Sums over images: of each channel, and where wanted of all products of pixels."""

    def __init__(self, products: bool):
        self.pixels = self.images = 0
        self.first: Any = 0.0
        self.second: Any = 0.0
        self.origin: np.ndarray | None = None
        self.products: np.ndarray | None = None
        self.sums: Any = 0.0
        self.wanted = products

    def add(self, x: np.ndarray) -> None:
        """More images (N, H, W, C)."""
        wide = x.astype(np.float64)
        if self.origin is None:
            self.origin = wide.mean(axis=(0, 1, 2))
        wide -= self.origin  # near zero: squares of large numbers would lose the digits of their difference
        self.pixels += x.shape[0] * x.shape[1] * x.shape[2]
        self.images += len(x)
        self.first = self.first + wide.sum(axis=(0, 1, 2))
        self.second = self.second + (wide**2).sum(axis=(0, 1, 2))
        if self.wanted:
            flat = wide.reshape(len(x), -1)
            self.sums = self.sums + flat.sum(0)
            product = flat.T @ flat
            self.products = product if self.products is None else self.products + product

    def mean(self) -> np.ndarray:
        """(C,) float32"""
        return np.asarray(self.origin + self.first / self.pixels, np.float32)

    def deviation(self) -> np.ndarray:
        """(C,) float32, biased as in NumPy"""
        variance = self.second / self.pixels - (self.first / self.pixels) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)

    def scatter(self) -> np.ndarray:
        """sum of z z' over the images z (H W C), the mean of its channel taken off each pixel."""
        if self.products is None:
            raise ValueError("products of pixels were not summed")
        D = len(self.products)
        shift = np.tile(self.first / self.pixels, D // len(self.first))
        cross = np.outer(self.sums, shift)
        return np.asarray(self.products - cross - cross.T + self.images * np.outer(shift, shift))


def whitening(moments: Moments, epsilon: float) -> np.ndarray:
    """U diag(sqrt(n) / (s + epsilon)) U', with the singular values s of the centred data (n, H W C), as in Keras."""
    values, U = np.linalg.eigh(moments.scatter())
    s = np.sqrt(np.maximum(values, 0))
    # Directions in which the data do not vary have no singular vector in Keras; here they would be noise, enlarged.
    scale = np.where(s > s[-1] * 1e-7, np.sqrt(moments.images) / (s + epsilon), 0)
    return np.asarray((U * scale) @ U.T, np.float32)
