"""Backend: an array module plus one kernel module per row of the grid, and the contract of each row.

The rules of every kernel: outputs first; the caller owns all memory; None for an output means "not wanted"; inputs are
not changed unless the docstring says so; shapes stand in the docstring. ``reference`` is the specification, written in
NumPy functions that any array which follows NumPy's protocols (NEP 13 and 18: ``numpy.exp(a)`` runs CuPy's ``exp`` when
``a`` is CuPy's) runs through. ``cpu`` and ``gpu`` replace what they do better, and are tested against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from tinynn.activation import Activation
from tinynn.typing import Array, ArrayLike, Shape
from tinynn.window import Window

Key = tuple[int, int]
"""Philox's key: (seed, stream)."""
ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""


class ActivationKernels(Protocol):
    """Elementwise nonlinearities; arrays of one shape."""

    def forward(self, y: Array, x: Array, kind: Activation, alpha: float) -> None:
        """y = f(x). y may be x."""

    def backward(self, dx: Array, dy: Array, x: Array | None, y: Array, kind: Activation, alpha: float) -> None:
        """dx = dy f'(x). dx may be dy; x may be None for the kinds in ``activation.FUSED``: f' follows from y."""


class DenseKernels(Protocol):
    """x (N, I), W (I, O), b (O,) or None, y (N, O); gradients of the same shapes."""

    def forward(self, y: Array, x: Array, W: Array, b: Array | None, activation: Activation) -> None:
        """y = activation(x W + b)"""

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        db: Array | None,
        dy: Array,
        x: Array,
        W: Array,
        y: Array,
        activation: Activation,
    ) -> None:
        """dz = dy activation'(y); dx = dz W', dW = x' dz, db = column sums of dz. dy is overwritten."""


class SoftmaxKernels(Protocol):
    """Rows of logits x (N, C) and their cross-entropies."""

    def forward(self, y: Array, x: Array) -> None:
        """y = exp(x - max) / sum exp(x - max), row by row"""

    def backward(self, dx: Array, dy: Array, y: Array) -> None:
        """dx = y (dy - sum(dy y)), row by row. dx may be dy."""

    def cross_entropy(self, rows: Array, p: Array, x: Array, target: Array) -> None:
        """rows (N,) = -sum_c target log softmax(x); p (N, C) = softmax(x). target (N, C)."""

    def cross_entropy_backward(self, dx: Array, drows: Array, p: Array, target: Array) -> None:
        """dx = drows (p sum(target) - target)"""

    def sparse_cross_entropy(self, rows: Array, p: Array, x: Array, labels: Array) -> None:
        """rows = -log softmax(x)[label]; labels (N,) integers, where a negative one makes a row of loss 0."""

    def sparse_cross_entropy_backward(self, dx: Array, drows: Array, p: Array, labels: Array) -> None:
        """dx = drows (p - onehot(label)), and 0 in rows with a negative label"""

    def binary_cross_entropy(self, loss: Array, x: Array, target: Array) -> None:
        """loss (N, C) = max(x, 0) - x target + log(1 + exp(-|x|)) of logits x (N, C)"""

    def binary_cross_entropy_backward(self, dx: Array, dloss: Array, x: Array, target: Array) -> None:
        """dx = dloss (sigmoid(x) - target)"""


class BatchNormKernels(Protocol):
    """x (M, C): normalised over M for each of C channels. All else is (C,); gamma and beta may be None."""

    def forward(
        self,
        y: Array,
        mean: Array,
        variance: Array,
        rstd: Array,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        epsilon: float,
    ) -> None:
        """y = gamma (x - mean) rstd + beta of the batch's mean and biased variance; rstd = 1 / sqrt(variance + eps)"""

    def inference(
        self, y: Array, x: Array, mean: Array, variance: Array, gamma: Array | None, beta: Array | None, epsilon: float
    ) -> None:
        """The same with given statistics."""

    def backward(
        self,
        dx: Array | None,
        dgamma: Array | None,
        dbeta: Array | None,
        dy: Array,
        x: Array,
        mean: Array,
        rstd: Array,
        gamma: Array | None,
    ) -> None:
        """dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat)), dgamma = sum dy xhat, dbeta = sum dy. dx may be dy."""

    def inference_backward(
        self,
        dx: Array | None,
        dgamma: Array | None,
        dbeta: Array | None,
        dy: Array,
        x: Array,
        mean: Array,
        rstd: Array,
        gamma: Array | None,
    ) -> None:
        """The same with given statistics: dx = gamma rstd dy. dx may be dy."""

    def update(self, moving: Array, batch: Array, momentum: float, scale: Array | None = None) -> None:
        """moving = momentum moving + (1 - momentum) batch, in place; stays where batch is not finite.

        Where scale (one element) is 0, nothing changes: the optimizer skipped the step.
        """


class LayerNormKernels(Protocol):
    """x (M, F): each row normalised over F. mean, rstd (M,), gamma, beta (F,) or None."""

    def forward(
        self, y: Array, mean: Array, rstd: Array, x: Array, gamma: Array | None, beta: Array | None, epsilon: float
    ) -> None:
        """y = gamma (x - mean) rstd + beta"""

    def backward(
        self,
        dx: Array | None,
        dgamma: Array | None,
        dbeta: Array | None,
        dy: Array,
        x: Array,
        mean: Array,
        rstd: Array,
        gamma: Array | None,
    ) -> None:
        """With g = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)). dx may be dy."""


class Conv2DKernels(Protocol):
    """x (N, H, W, C), W (KH, KW, C / groups, O), b (O,) or None, y (N, OH, OW, O); gradients of the same shapes.

    Of G groups the g-th makes the g-th part of the outputs from the g-th part of the channels. ``fast`` admits
    algorithms that round more than the sum written down: about ten times as much on the CPU (Winograd's F(4x4, 3x3) and
    F(2x2, 5x5)), factors of 10 bits behind the point on a GPU (TF32: errors of some 1e-4 of the largest output).
    """

    def forward(
        self,
        y: Array,
        x: Array,
        W: Array,
        b: Array | None,
        window: Window,
        groups: int,
        activation: Activation,
        fast: bool,
    ) -> None:
        """y[n, i, j, o] = activation(b[o] + sum of x[n, i s + u d - top, j s + v d - left, c] W[u, v, c, o])

        over u, v and c, with strides s, dilation d and zeros outside the image.
        """

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        db: Array | None,
        dy: Array,
        x: Array,
        W: Array,
        y: Array,
        window: Window,
        groups: int,
        activation: Activation,
        fast: bool,
    ) -> None:
        """dz = dy activation'(y); dx, dW and db by the same sum read backwards. dy is overwritten."""


class Pool2DKernels(Protocol):
    """x (N, H, W, C), y (N, OH, OW, C)."""

    def max_forward(self, y: Array, place: Array | None, x: Array, window: Window) -> None:
        """y = the largest number of each window; padding counts as -inf, NaN as the largest.

        place (N, OH, OW, C), uint8 (or int32 for windows of more than 256): a KW + b of the *first* largest.
        """

    def max_backward(self, dx: Array, dy: Array, place: Array, window: Window) -> None:
        """dx = dy where the place says so, 0 elsewhere; overlapping windows add."""

    def average_forward(self, y: Array, x: Array, window: Window) -> None:
        """y = the mean of each window; padding does not count, neither above nor below the fraction bar."""

    def average_backward(self, dx: Array, dy: Array, window: Window) -> None:
        """dx = the sum, over the windows that an input is in, of dy / (inputs in that window)."""


class ConvBlockKernels(Protocol):
    """z = pool(activation(norm(conv(x)))): a convolution and what follows it, as one; models fuse them at ``compile``.

    conv is that of Conv2DKernels, y (N, OH, OW, O) its output; norm is BatchNormKernels' over the rows (N OH OW, O), or
    nothing; activation is one of FUSED; pool is max pooling, or nothing (then z has the shape of y). ``Block`` says
    which. With a norm: y, mean, variance, rstd, gamma, beta are as there (gamma and beta may be None). Without one y
    is None, and so are the others: an activation that rises commutes with max pooling and its derivative follows from
    z, so y need not be kept. place is as in Pool2DKernels, None without a pool.
    """

    def forward(
        self,
        z: Array,
        place: Array | None,
        y: Array | None,
        mean: Array | None,
        variance: Array | None,
        rstd: Array | None,
        x: Array,
        W: Array,
        b: Array | None,
        gamma: Array | None,
        beta: Array | None,
        block: Block,
    ) -> None:
        """As above. y (before the norm), mean, variance and rstd are outputs."""

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        db: Array | None,
        dgamma: Array | None,
        dbeta: Array | None,
        dz: Array,
        x: Array,
        W: Array,
        z: Array,
        place: Array | None,
        y: Array | None,
        mean: Array | None,
        rstd: Array | None,
        gamma: Array | None,
        block: Block,
    ) -> None:
        """The gradients; dz is overwritten."""


@dataclass(frozen=True)
class Block:
    """The constants of a fused block."""

    window: Window
    groups: int = 1
    activation: Activation = Activation.LINEAR
    pool: Window | None = None
    epsilon: float | None = None
    """Of the batch normalization; None where there is none."""
    fast: bool = False


class MergeKernels(Protocol):
    """Two arrays of one shape into one."""

    def relu_sum(self, y: Array, a: Array, b: Array) -> None:
        """y = max(a + b, 0), the end of a residual block"""

    def relu_sum_backward(self, da: Array | None, db: Array | None, dy: Array, y: Array) -> None:
        """da = db = dy where y > 0, else 0. da may be dy."""


class RNNKernels(Protocol):
    """A whole sequence through h_t = f(x_t W + b + (r h_{t-1}) U), in one call.

    x (N, T, F), W (F, H), U (H, H), b (H,) or None; h (N, T, H): the states after each step, at the place of its x.
    What all recurrent rows share: h0 (N, H), the state before the first step, None for zeros; mask (N, T) of bools or
    None: where it is False the step changes nothing, whatever its x is, and the state is carried over; r (N, H) or
    None: a factor of the state on its way into U (recurrent dropout: one mask for the whole sequence). With
    ``backwards`` the steps run from T - 1 to 0. Gradients: dh (N, T, H) of every h, or None; dlast (N, H) of the state
    after the last step, or None; not both are None. Kinds are those of ``activation.FUSED`` and the sigmoids: f'
    follows from f.
    """

    def forward(
        self,
        h: Array,
        x: Array,
        W: Array,
        U: Array,
        b: Array | None,
        h0: Array | None,
        mask: Array | None,
        r: Array | None,
        kind: Activation,
        backwards: bool,
    ) -> None:
        """The formula above."""

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        dU: Array | None,
        db: Array | None,
        dh0: Array | None,
        dh: Array | None,
        dlast: Array | None,
        x: Array,
        W: Array,
        U: Array,
        h: Array,
        h0: Array | None,
        mask: Array | None,
        r: Array | None,
        kind: Activation,
        backwards: bool,
    ) -> None:
        """With g_t the gradient of h_t from the outside and from step t + 1: dz_t = g_t f'(h_t);

        dx = dz W', dW = sum x_t' dz_t, dU = sum (r h_{t-1})' dz_t, db = sum dz_t, g_{t-1} += r (dz_t U').
        """


class LSTMKernels(Protocol):
    """Gates i, f, c, o side by side: z = x_t W + b + (r h_{t-1}) U; c_t = s(f) c_{t-1} + s(i) a(c), h_t = s(o) a(c_t).

    x (N, T, F), W (F, 4H), U (H, 4H), b (4H,) or None; h, c (N, T, H); gates (N, T, 4H): s(i), s(f), a(c), s(o), kept
    for backward; where the mask is False they may hold anything. h0, c0, mask, r, backwards as in ``RNNKernels``;
    dlast, dclast of the states after the last step. a is ``kind`` (tanh), s is ``gate`` (sigmoid).
    """

    def forward(
        self,
        h: Array,
        c: Array,
        gates: Array,
        x: Array,
        W: Array,
        U: Array,
        b: Array | None,
        h0: Array | None,
        c0: Array | None,
        mask: Array | None,
        r: Array | None,
        kind: Activation,
        gate: Activation,
        backwards: bool,
    ) -> None:
        """The formulas above, all steps."""

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        dU: Array | None,
        db: Array | None,
        dh0: Array | None,
        dc0: Array | None,
        dh: Array | None,
        dlast: Array | None,
        dclast: Array | None,
        x: Array,
        W: Array,
        U: Array,
        h: Array,
        c: Array,
        gates: Array,
        h0: Array | None,
        c0: Array | None,
        mask: Array | None,
        r: Array | None,
        kind: Activation,
        gate: Activation,
        backwards: bool,
    ) -> None:
        """Backpropagation through time; gates is lost."""

    def cell(self, h: Array, c: Array, gates: Array, c0: Array | None, kind: Activation, gate: Activation) -> None:
        """The step after the products: gates (M, 4H) holds z and becomes s(i), s(f), a(c), s(o); c0 (M, H) -> h, c."""

    def cell_backward(
        self,
        dc0: Array | None,
        dh: Array | None,
        dc: Array | None,
        c: Array,
        gates: Array,
        c0: Array | None,
        kind: Activation,
        gate: Activation,
    ) -> None:
        """Of that step; gates is overwritten by dz. Of dh (M, H) and dc (M, H) one may be None; dc0 may be dc."""


class GRUKernels(Protocol):
    """Gates z, r, n side by side:  z, r = s(x W + b + h' U),  n = a(x W_n + b_n + inner),  h_t = z h_{t-1} + (1 - z) n.

    h' = keep h_{t-1} (``keep`` is the recurrent dropout that ``RNNKernels`` calls r). With ``reset_after``
    inner = r (h' U_n + bu_n), and bu is a second bias of all gates; without, inner = (r h') U_n, and bu is None.
    x (N, T, F), W (F, 3H), U (H, 3H), b, bu (3H,) or None; h (N, T, H); gates (N, T, 3H): z, r, n; inner (N, T, H):
    h' U_n + bu_n with ``reset_after``, else r h'. The rest as in ``RNNKernels``.
    """

    def forward(
        self,
        h: Array,
        gates: Array,
        inner: Array,
        x: Array,
        W: Array,
        U: Array,
        b: Array | None,
        bu: Array | None,
        h0: Array | None,
        mask: Array | None,
        keep: Array | None,
        kind: Activation,
        gate: Activation,
        reset_after: bool,
        backwards: bool,
    ) -> None:
        """The formulas above, all steps."""

    def backward(
        self,
        dx: Array | None,
        dW: Array | None,
        dU: Array | None,
        db: Array | None,
        dbu: Array | None,
        dh0: Array | None,
        dh: Array | None,
        dlast: Array | None,
        x: Array,
        W: Array,
        U: Array,
        bu: Array | None,
        h: Array,
        gates: Array,
        inner: Array,
        h0: Array | None,
        mask: Array | None,
        keep: Array | None,
        kind: Activation,
        gate: Activation,
        reset_after: bool,
        backwards: bool,
    ) -> None:
        """Backpropagation through time; gates and inner are lost."""


class EmbeddingKernels(Protocol):
    """Rows of a table W (V, D) by ids (M,) of integers, y (M, D)."""

    def forward(self, y: Array, W: Array, ids: Array) -> None:
        """y[m] = W[ids[m]]; ids are in range."""

    def backward(self, dW: Array, dy: Array, ids: Array) -> None:
        """dW[v] = sum of dy[m] over ids[m] == v, added in the order of m; nothing of the table's size but dW."""


class AttentionKernels(Protocol):
    """Heads of scaled dot products: q (N, T, A, D), k (N, S, A, D), v (N, S, A, E), y (N, T, A, E), p (N, A, T, S).

    mask (N or 1, A or 1, T or 1, S) of bools, or None: False keeps a query from a key. ``causal``: query t sees keys up
    to t. A query that sees no key gets a row of zeros. keep (N, A, T, S) or None: factors of p (dropout).
    """

    def forward(
        self,
        y: Array,
        p: Array,
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None,
        keep: Array | None,
        scale: float,
        causal: bool,
    ) -> None:
        """p = softmax over S of scale q k', y = (keep p) v"""

    def backward(
        self,
        dq: Array | None,
        dk: Array | None,
        dv: Array | None,
        dy: Array,
        p: Array,
        q: Array,
        k: Array,
        v: Array,
        keep: Array | None,
        scale: float,
        causal: bool,
    ) -> None:
        """dp = keep (dy v'), ds = scale p (dp - sum dp p), dq = ds k, dk = ds' q, dv = (keep p)' dy; p is lost."""


class DropoutKernels(Protocol):
    """Random masks and noise. Element e takes word e % 4 of the Philox block (e // 4, step, substream, call)."""

    def forward(
        self, y: Array, mask: Array, x: Array, rate: float, key: Key, step: Array, substream: int, call: int
    ) -> None:
        """mask = (word >= rate 2**32) as bool, y = x mask / (1 - rate). step is an array of one uint32."""

    def backward(self, dx: Array, dy: Array, mask: Array, rate: float) -> None:
        """dx = dy mask / (1 - rate). dx may be dy."""

    def normal(self, out: Array, stddev: float, key: Key, step: Array, substream: int, call: int) -> None:
        """out = stddev times standard normal noise (Box-Muller over words 2i, 2i + 1)"""


class Fill(IntEnum):
    """What stands outside of an image a b c d."""

    NEAREST = 0
    """a a | a b c d | d d"""
    CONSTANT = 1
    """v v | a b c d | v v"""
    REFLECT = 2
    """b a | a b c d | d c"""
    WRAP = 3
    """c d | a b c d | a b"""


EDGE = 1e-6
"""Of a pixel: so far outside a point still lies on the edge, since a rotation by 90 degrees is not exact."""


class ResampleKernels(Protocol):
    """Images (N, H, W, C), their numbers uint8 or float32, read at other points."""

    def affine(self, out: Array, images: Array, matrices: Array, fill: Fill, value: float, order: int) -> None:
        """out[n, i, j] = images[n] at the point (r, c), with (r, c) = matrices[n] (i, j, 1)

        out (N, OH, OW, C) float32, or uint8 where images are, matrices (N, 2, 3) float64. order 1 interpolates between
        the four pixels around a point, in float32, rounded to the nearest where out is uint8; order 0, and a matrix of
        whole numbers, takes the nearest pixel. With Fill.CONSTANT a point outside of [0, H-1] x [0, W-1] has the
        `value`.
        """


class State(IntEnum):
    """What stands where in an optimizer's ``state``, an array of float64 on the backend.

    It lives there so that a step neither reads from the device nor writes to it: kernels take the step count, the
    learning rate and the clipping scale from it.
    """

    ITERATIONS = 0
    """Steps taken, from ``begin`` on with this one; those skipped for a gradient that is not finite do not count."""
    LEARNING_RATE = 1
    """Of this step, schedule and decay applied."""
    SQUARES = 2
    """Sum of squares of all gradients of this step."""
    SCALE = 3
    """What every gradient is multiplied with in this step: 1, or less when clipping; 0 means "leave all as it is"."""
    SKIPPED = 4
    """Steps skipped because the gradient norm was not finite."""
    FIRST_SKIPPED = 5
    """Calls of ``step`` (skipped ones included) before the first skipped one; -1 for none."""
    CALLS = 6
    """Calls of ``step``."""
    PRODUCT = 7
    """Nadam's product of its momenta so far; begins at 1."""


class OptimizerKernels(Protocol):
    """One pass over flat 1-D arrays of one size: w (weights), g (gradients) and slots; ``state`` is laid out as State.

    In all rules g stands for scale g, lr for the learning rate and t for the iterations in ``state``, and the weights
    first become w - lr weight_decay w. Where the scale is 0 no byte changes. g itself never changes. The formulas are
    Keras's.
    """

    def square_sum(self, state: Array, g: Array) -> None:
        """state[SQUARES] += sum g^2, in float64"""

    def clip(self, clipped: Array, g: Array, value: float) -> None:
        """clipped = min(max(g, -value), value); NaN stays. clipped may be g."""

    def clip_norm(self, clipped: Array, g: Array, norm: float) -> None:
        """clipped = g norm / max(|g|, norm). clipped may be g."""

    def begin(self, state: Array, global_clipnorm: float, limit: float = np.inf) -> None:
        """SCALE = global_clipnorm / max(|g|, global_clipnorm), ITERATIONS += 1; or SCALE = 0, and the skip is counted.

        Skipped is a step whose SQUARES are not finite or beyond ``limit``, or whose learning rate is negative or not
        finite.
        """

    def sgd(self, w: Array, g: Array, state: Array, weight_decay: float) -> None:
        """w = w - lr g"""

    def momentum(
        self, w: Array, v: Array, g: Array, state: Array, momentum: float, nesterov: bool, weight_decay: float
    ) -> None:
        """v = momentum v - lr g; w = w + v, with Nesterov w = w + momentum v - lr g"""

    def adam(
        self,
        w: Array,
        m: Array,
        v: Array,
        largest: Array | None,
        g: Array,
        state: Array,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        """m += (1 - beta1) (g - m), v += (1 - beta2) (g^2 - v), w = w - a m / (sqrt(v) + epsilon)

        with a = lr sqrt(1 - beta2^t) / (1 - beta1^t). ``largest`` (AMSGrad) keeps max(largest, v), which stands for v.
        """

    def nadam_begin(self, state: Array, beta1: float) -> None:
        """After ``begin``: PRODUCT *= u(t), u(t) = beta1 (1 - 0.96^t / 2)"""

    def nadam(
        self,
        w: Array,
        m: Array,
        v: Array,
        g: Array,
        state: Array,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        """m and v as in Adam, w = w - lr n / (sqrt(v / (1 - beta2^t)) + epsilon)

        with n = u(t + 1) m / (1 - PRODUCT u(t + 1)) + (1 - u(t)) g / (1 - PRODUCT).
        """

    def adamax(
        self,
        w: Array,
        m: Array,
        u: Array,
        g: Array,
        state: Array,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        """m += (1 - beta1) (g - m), u = max(beta2 u, |g|), w = w - lr / (1 - beta1^t) m / (u + epsilon)"""

    def rmsprop(
        self,
        w: Array,
        v: Array,
        velocity: Array | None,
        mean: Array | None,
        g: Array,
        state: Array,
        rho: float,
        momentum: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        """v = rho v + (1 - rho) g^2, d = lr g / sqrt(v + epsilon), w = w - d

        With ``mean``: mean = rho mean + (1 - rho) g, and max(v - mean^2, 0) stands for v in d: rounding makes it
        negative. With ``velocity``: velocity = momentum velocity + d, which is what w goes down by.
        """

    def adagrad(self, w: Array, v: Array, g: Array, state: Array, epsilon: float, weight_decay: float) -> None:
        """v += g^2, w = w - lr g / sqrt(v + epsilon)"""

    def adadelta(
        self, w: Array, v: Array, d: Array, g: Array, state: Array, rho: float, epsilon: float, weight_decay: float
    ) -> None:
        """v = rho v + (1 - rho) g^2, w = w - lr s, d = rho d + (1 - rho) s^2

        with s = sqrt((d + epsilon) / (v + epsilon)) g and the d of before.
        """


class Staging(Protocol):
    """Batches on their way to a device: while one is computed with, the next one is copied."""

    def turn(self) -> None:
        """Begin a batch. Arrays of the batch before the last that nobody refers to are written over from here on."""

    def put(self, place: int, shape: Shape, dtype: Any, fill: Callable[[np.ndarray], None]) -> Array:
        """An array on the device with what ``fill(array on the host)`` writes; ``place``: which one of the batch."""


@dataclass(frozen=True)
class Backend:
    """What a Graph runs on: where arrays live, and the kernels.

    ``empty`` and friends take a shape and a dtype; ``asarray`` converts (and moves) without copying where it can, and
    raises TypeError for what is not numbers; ``to_numpy`` brings an array to the host.
    """

    name: str
    xp: ModuleType
    array_type: type
    empty: Callable[[Shape, Any], Array]
    asarray: Callable[[ArrayLike, Any], Array]
    to_numpy: Callable[[Array], np.ndarray]
    activation: ActivationKernels
    dense: DenseKernels
    softmax: SoftmaxKernels
    conv2d: Conv2DKernels
    pool2d: Pool2DKernels
    convblock: ConvBlockKernels
    batchnorm: BatchNormKernels
    layernorm: LayerNormKernels
    merge: MergeKernels
    rnn: RNNKernels
    lstm: LSTMKernels
    gru: GRUKernels
    embedding: EmbeddingKernels
    attention: AttentionKernels
    dropout: DropoutKernels
    resample: ResampleKernels
    optimizers: OptimizerKernels
    matmul: Callable[[Array, Array], Array] = np.matmul
    """NumPy's product of vectors, matrices and stacks of matrices, for what has no row of its own."""
    record: Callable[[Callable[[], None]], Callable[[], None]] | None = None
    """Where a device can: run a function without executing it, and return what executes all it asked of the device.

    Everything is asked again of the same arrays; those made inside live as long as the recording.
    """
    staging: Callable[[], Staging] | None = None
    """Where arrays live elsewhere: a way in for batches that does not wait."""
    synchronize: Callable[[], None] | None = None
    """Wait until everything asked for is done; errors of the device come out here."""

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        return self.full(shape, 0, dtype)

    def full(self, shape: Shape, value: float, dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = value
        return array

    def aligned(self, size: int, value: float, dtype: Any) -> Array:
        """A flat array that begins on a cache line: device allocators see to it, on the host some room is left over."""
        if self.array_type is not np.ndarray:
            return self.full((size,), value, dtype)
        itemsize = np.dtype(dtype).itemsize
        memory = self.full((size + ALIGNMENT // itemsize,), value, dtype)
        start = -memory.ctypes.data % ALIGNMENT // itemsize
        return memory[start : start + size]

    def take(self, source: np.ndarray, rows: np.ndarray, dtype: Any) -> Array:
        """Rows of an array in host memory, gathered (into recycled memory, where the backend's is the host's)."""
        shape = len(rows), *source.shape[1:]
        out = self.empty(shape, dtype) if self.array_type is np.ndarray else np.empty(shape, dtype)
        gather(out, source, rows)
        return self.asarray(out, dtype)

    def __repr__(self) -> str:
        return f"<Backend {self.name}>"


def gather(out: np.ndarray, array: np.ndarray, rows: slice | np.ndarray) -> None:
    """out = array[rows], converted on the way; all in host memory."""
    if isinstance(rows, slice) or not array.flags.c_contiguous:
        out[...] = array[rows]  # take would copy all of a strided array
    elif array.dtype == out.dtype:
        array.take(rows, axis=0, out=out, mode="clip")  # with mode="raise" NumPy would gather a copy first
    else:
        out[...] = array.take(rows, axis=0)


def host(array: Array) -> np.ndarray:
    """An array brought to the host on purpose: ``get()`` of a device array, a NumPy array as it is."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def numbers(value: ArrayLike, dtype: Any) -> np.ndarray:
    """A NumPy array of real numbers in the machine's byte order; TypeError for text, objects and complex numbers.

    >>> numbers([[1, 2]], "float32").dtype
    dtype('float32')
    """
    if type(value) is np.ndarray and value.dtype == dtype and value.dtype.isnative:
        return value
    if isinstance(value, np.generic) and value.dtype == dtype:  # what NumPy's reductions return
        return np.asarray(value)
    if holds_tensors(value):
        raise TypeError(
            "expected numbers, got a Tensor, whose gradient would be lost: join tensors with ops.stack or "
            "ops.concatenate, and take x.data where only the value is wanted"
        )
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"expected numbers, got an array of dtype {array.dtype}: convert it first, "
            "for example with np.asarray(x, dtype='float32')"
        )
    return np.asarray(array, np.dtype(dtype))


def holds_tensors(value: Any) -> bool:
    """Whether a value is a Tensor, or a list with one in it (known by its attribute: tensors lie above backends)."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_tensors, value))
    return hasattr(value, "requires_grad")
