"""Batch normalization: one channel, few, many, images, with and without gamma and beta; batch and given statistics."""

import numpy as np

from tests.cases import Case
from tinynn.backends import Backend
from tinynn.layers.batchnorm import BatchNorm


def given(channels: int, scale: bool = True, center: bool = True):  # type: ignore[no-untyped-def]
    """A normalization with statistics that live on the backend."""

    def make(backend: Backend) -> BatchNorm:
        mean = backend.asarray(np.linspace(-1, 1, channels), "float64")
        variance = backend.asarray(np.linspace(0.5, 2, channels), "float64")
        return Given(1e-3, scale, center, (mean, variance))

    return make


class Given(BatchNorm):
    """The statistics in the dtype of the graph, as the layer gives them."""

    def forward(self, graph, x, *learned):  # type: ignore[no-untyped-def]
        self.statistics = tuple(s.astype(graph.dtype) for s in self.statistics)
        return super().forward(graph, x, *learned)


def batchnorm(name: str, x: tuple[int, ...], epsilon: float = 1e-3, **kwargs: bool) -> Case:
    learned = [(x[-1],)] * sum(kwargs.get(k, True) for k in ("scale", "center"))
    return Case(f"batchnorm_{name}", lambda: BatchNorm(epsilon, **kwargs), (x, *learned), rtol32=2e-5)


CASES = [
    batchnorm("", (8, 3)),
    batchnorm("two_rows", (2, 3), epsilon=0.5),
    batchnorm("one_channel", (17, 1)),
    batchnorm("images", (2, 3, 5, 4)),
    batchnorm("few_channels", (301, 3)),
    batchnorm("no_scale", (9, 5), scale=False),
    batchnorm("no_center", (9, 5), center=False),
    batchnorm("plain", (9, 5), scale=False, center=False),
    batchnorm("wide", (6, 1100)),
    batchnorm("pieces", (130, 260)),
    Case("batchnorm_inference", given(5), ((9, 5), (5,), (5,)), on_backend=True, rtol32=1e-5),
    Case("batchnorm_inference_images", given(3), ((2, 3, 5, 3), (3,), (3,)), on_backend=True, rtol32=1e-5),
    Case("batchnorm_inference_plain", given(4, False, False), ((9, 4),), on_backend=True, rtol32=1e-5),
    Case("batchnorm_inference_no_center", given(4, True, False), ((9, 4), (4,)), on_backend=True, rtol32=1e-5),
]
