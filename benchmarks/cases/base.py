"""Case: one workload, written twice, for tinynn and for PyTorch, so that both do the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A workload of the table. Nothing of PyTorch is imported before a worker calls ``theirs``.

    name:       what ``--only`` takes
    title:      the model, the optimizer and the batch in a few words
    batch_size: rows per step
    data:       () -> (x, y): float32 rows (images channels last) and int64 labels, the same at every call
    ours:       (**options) -> a compiled tinynn model; options are those of ``compile``
    theirs:     () -> the equal ``torch.nn.Module``, giving logits
    optimizer:  (parameters, **options) -> the equal ``torch.optim`` optimizer; options are those of the variant
    criterion:  the loss's name in ``torch.nn.functional``
    load:       (module, weights): copy the weights, a list as ``get_weights`` gives it, into the module
    variants:   the contenders of PyTorch, names in ``VARIANTS``; "compile" comes with --compile
    tolerance:  how far the losses after the run may differ, relatively
    """

    name: str
    title: str
    batch_size: int
    data: Callable[[], Arrays]
    ours: Callable[..., Any]
    theirs: Callable[[], Any]
    optimizer: Callable[..., Any]
    criterion: str = "cross_entropy"
    load: Callable[[Any, Sequence[np.ndarray]], None] = field(default_factory=lambda: load_weights)
    variants: tuple[str, ...] = ("eager", "fused")
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Variant:
    """How PyTorch runs: optimizer updates in one kernel, channels-last memory, ``torch.compile`` of the module."""

    fused: bool = False
    channels_last: bool = False
    compile: bool = False


VARIANTS = {
    "eager": Variant(),
    "fused": Variant(fused=True),
    "channels_last": Variant(fused=True, channels_last=True),
    "compile": Variant(fused=True, compile=True),
    "channels_last_compile": Variant(fused=True, channels_last=True, compile=True),
}


THEIR_AXES = {2: (1, 0), 4: (3, 2, 0, 1)}
"""Which of our axes stands where in PyTorch's kernels, by their number."""


def load_weights(module: Any, weights: Sequence[np.ndarray]) -> None:
    """Our weights in order into a module's layers in order: Linear (O, I) from (I, O), Conv2d (O, C, H, W) from
    (H, W, C, O), biases as they are. ValueError when the two lists do not match.
    """
    import torch

    parameters = list(module.parameters())
    if len(parameters) != len(weights):
        raise ValueError(f"the module has {len(parameters)} parameters, our model {len(weights)}")
    with torch.no_grad():
        for p, w in zip(parameters, weights, strict=True):
            w = np.transpose(w, THEIR_AXES.get(w.ndim, range(w.ndim)))
            if tuple(p.shape) != w.shape:
                raise ValueError(f"a parameter of the module has shape {tuple(p.shape)}, ours gives {w.shape}")
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))


@cache
def mnist_rows() -> Arrays:
    """The training images of MNIST as rows of 784 values in [0, 1], and their labels."""
    from tinynn.datasets import mnist

    (x, y), _ = mnist.load_data()
    return x.reshape(len(x), -1).astype(np.float32) / np.float32(255), y.astype(np.int64)
