"""Graph: runs Functions on a backend, writes them on a tape, and walks the tape in reverse."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynn import backends
from tinynn.backends import Backend
from tinynn.function import SPENT, UNOPENED, Function
from tinynn.parameter import Parameter, Variable
from tinynn.records import Record, records
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike
from tinynn.whereabouts import place


class Graph:
    """The place where tensors live: backend, compute dtype, training flag, and the tape.

    >>> g = Graph(dtype="float64")
    >>> x = g.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> g.backward(y)
    >>> float(y.data), float(x.grad)
    (9.0, 6.0)

    backend:   a name ("cpu", "reference", "gpu"), a Backend, or None for the default (``TINYNN_BACKEND``, else "cpu")
    training:  what Dropout and BatchNormalization ask
    dtype:     the compute dtype; parameters of another dtype are converted in ``parameter``, and nowhere else
    gradients: False writes no tape (prediction): intermediate arrays live only as long as their tensors. A graph with
               a tape keeps them until backward, ``reset``, or the end of ``with Graph(...) as g:``
    frozen:    ids of the layers and parameters that this run shall not train; None lets ``trainable`` decide at each
               call. It is the graph that knows, because two models may share a layer that only one of them trains
    listener:  called with each Parameter as soon as its gradient is complete, while backward still runs
    fuse:      True lets models run layers in a row as one Function, as their fit, evaluate and predict do; by default
               every layer has nodes of its own
    fast_math: True admits algorithms that round more, such as Winograd's F(4x4, 3x3) convolution, or TF32 on a GPU
    """

    def __init__(
        self,
        *,
        backend: str | Backend | None = None,
        training: bool = False,
        dtype: str | np.dtype[Any] = "float32",
        gradients: bool = True,
        frozen: frozenset[int] | None = None,
        listener: Callable[[Parameter], None] | None = None,
        fast_math: bool = False,
        fuse: bool = False,
    ):
        self.backend = backends.get(backend)
        self.array_type = self.backend.array_type
        self.training = training
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise ValueError(f"Graph expects a floating-point dtype such as 'float32' or 'float64', got {dtype!r}")
        self.taping = gradients
        self.frozen = frozen
        self.listener = listener
        self.fast_math, self.fuse = fast_math, fuse
        self.tape: list[Function] = []
        self.losses: list[Tensor] = []
        """Scalars that layers add to the loss of the step, such as activity penalties."""
        self.records: list[Record] = []
        """What ``print(graph)`` shows after ``backward(loss, interior=True)``."""
        self.root: Any = None
        """The outermost layer or model whose call is running: the random numbers are its stream's."""
        self.updates: list[Callable[[Array | None], None]] | None = None
        """Where a training loop collects what changes at the end of a step; None changes it at once."""
        self.numbers: list[float] | None = None
        """Where a recording collects the numbers of Python that a step takes: every replay will take the same ones."""
        self.check: Callable[[], None] | None = None
        """With TINYNN_DEBUG=1, what is called after each Function: it waits for the device, whose errors come late."""
        if os.environ.get("TINYNN_DEBUG", "0") not in ("", "0"):
            self.check = self.backend.synchronize or nothing
        self._parameters: dict[int, Tensor] = {}
        self._leaves: list[Tensor] = []
        self._calls: dict[int, int] = {}
        self._accumulate = False

    # -- tensors -----------------------------------------------------------------------------------------------------

    def tensor(
        self, value: ArrayLike, *, requires_grad: bool = False, dtype: str | None = None, name: str | None = None
    ) -> Tensor:
        """Open the graph with an array: numbers of any kind become the compute dtype, unless ``dtype`` says otherwise.

        A float array of the right dtype is not copied, and never written to.
        """
        if self.numbers is not None and isinstance(value, (int, float)):
            self.numbers.append(value)
        array = self.backend.asarray(value, dtype or self.dtype)
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"a tensor that wants a gradient expects a floating-point dtype, got {array.dtype}")
        return Tensor(array, self, requires_grad and self.taping, name=name)

    def parameter(self, variable: Variable) -> Tensor:
        """The tensor of a parameter or buffer in this step: always the same one, so that its uses add up."""
        tensor = self._parameters.get(id(variable))
        if tensor is None:
            data = variable.data
            kind = type(data)
            if kind is not self.array_type:
                raise self.elsewhere(variable)
            if data.dtype != self.dtype:
                data = data.astype(self.dtype)
            trained = self.taping and variable.trainable and not (self.frozen and id(variable) in self.frozen)
            tensor = Tensor(data, self, trained, parameter=variable, name=variable.name)
            if self.taping:
                self._parameters[id(variable)] = tensor
        return tensor

    def elsewhere(self, variable: Variable) -> RuntimeError:
        """A model was moved, and another one that shares its layers, or a graph, was made before."""
        there = variable.backend.name if variable.backend is not None else "another backend"
        return RuntimeError(
            f"{variable.name or 'a variable'} lies on backend '{there}', and this graph runs on '{self.backend.name}': "
            f"a model that shares its layers has moved. Set model.backend = '{there}' for this one too, or make a new "
            "graph; a model cannot move while its fit runs"
        )

    def freezes(self, layer: Any) -> bool:
        """Whether this run leaves a layer as it is: a frozen BatchNormalization keeps its statistics."""
        return self.frozen is not None and id(layer) in self.frozen

    def update(self, change: Callable[[Array | None], None]) -> None:
        """Change something that is not trained, such as running statistics: at once, or at the end of the step.

        ``change(scale)`` shall leave everything as it was where ``scale`` (an array of one element, or None) is 0: the
        step was skipped because its gradient was not finite.
        """
        if self.updates is None:
            change(None)
        else:
            self.updates.append(change)

    def empty(self, *shape: int) -> Array:
        """An uninitialised array of the compute dtype, recycled where the backend does that."""
        return self.backend.empty(shape, self.dtype)

    # -- forward -----------------------------------------------------------------------------------------------------

    def apply(self, function: Function, *inputs: Any) -> Tensor:
        """Run a Function forward; write it on the tape where any input wants a gradient.

        Returns a Tensor; for a Function whose forward returns a tuple, a tuple of them (which the annotation leaves
        out, for the sake of all the others).
        """
        tensors = [x if type(x) is Tensor else self._constant(function, x) for x in inputs]
        try:
            data = function.forward(self, *[x.data for x in tensors])
            if self.check is not None:
                self.check()
        except Exception as error:
            self._explain(error, function, tensors, "forward")
            raise
        wanted = False
        for x in tensors:
            if x.requires_grad:
                wanted = True
                if x.position < 0 or x.graph is not self:
                    self._open(x)
        output: Any
        if type(data) is self.array_type:
            output = Tensor(data, self, wanted)
        elif type(data) is tuple:
            output = tuple(Tensor(self._array(d), self, wanted) for d in data)
        else:
            output = Tensor(self._array(data), self, wanted)
        if wanted:
            self._write(function, tensors, output)
        elif function.keeps_input:
            output.function = function
            function.inputs = tensors
        return output  # type: ignore[no-any-return]

    def _explain(self, error: Exception, function: Function, inputs: Sequence[Tensor], way: str) -> None:
        """Say in which layer memory ran out, or, with TINYNN_DEBUG=1, where anything went wrong."""
        if isinstance(error, MemoryError):
            raise MemoryError(f"{place(function, inputs, way)}: {error}") from error
        if self.check is not None:
            error.add_note(f"in {place(function, inputs, way)}")

    def _array(self, data: Array) -> Array:
        """NumPy's reductions return scalars."""
        return data if type(data) is self.array_type else self.backend.asarray(data, data.dtype)

    def _write(self, function: Function, inputs: list[Tensor], output: Any) -> None:
        """Write a call on the tape."""
        if function.output is not None:
            raise RuntimeError(
                f"this {type(function).__name__} was applied before and is the memory of that call: "
                f"make a new one for every call, as in {type(function).__name__}(...)(x)"
            )
        function.inputs = inputs
        function.output = output
        if type(output) is Tensor:
            output.function, output.position = function, len(self.tape)
        else:
            for tensor in output:
                tensor.function, tensor.position = function, len(self.tape)
        self.tape.append(function)

    def _open(self, x: Tensor) -> None:
        """The first use of a leaf: backward completes its gradient when it has come back to this place of the tape."""
        if x.graph is not self:
            raise ValueError("these tensors belong to two graphs: open one graph and make all tensors with it")
        if x.position == SPENT:
            raise RuntimeError(
                "this tensor was computed on a tape that is spent: backward and reset empty it. Compute it again, "
                "or call backward once, at the end"
            )
        x.position = len(self.tape)
        self._leaves.append(x)

    def _constant(self, function: Function, value: Any) -> Tensor:
        if isinstance(value, (bool, int, float, list, tuple, np.ndarray, np.generic, self.array_type)):
            return self.tensor(value)
        hint = ": write x.graph.parameter(...) around it" if isinstance(value, Variable) else ""
        raise TypeError(
            f"{type(function).__name__} expects tensors, numbers or arrays, got {type(value).__name__}{hint}"
        )

    def call_index(self, layer: object) -> int:
        """How many times this layer was called in this step before: a shared Dropout has a mask for every call."""
        count = self._calls.get(id(layer), 0)
        self._calls[id(layer)] = count + 1
        return count

    # -- backward ----------------------------------------------------------------------------------------------------

    def backward(
        self,
        loss: Tensor,
        *,
        gradient: ArrayLike | None = None,
        accumulate: bool = False,
        interior: bool = False,
    ) -> None:
        """Give every leaf that the loss depends on its gradient, and spend the tape.

        loss:       a tensor of one element, or of any shape if ``gradient`` (dL/dloss) is given
        accumulate: add to the gradients that are there instead of replacing them
        interior:   also keep the gradients of interior nodes, and a listing of all nodes for ``print(graph)``

        A parameter's gradient lands in its optimizer's buffer, written once. Raises ValueError for a loss that is not
        a scalar, RuntimeError for a loss that is not on this graph's tape (a second backward, or after ``reset``).
        """
        loss.pending = self._seed(loss, gradient)
        self._accumulate = accumulate
        tape, leaves = self.tape, self._leaves
        listing = records(tape) if interior else []
        done: list[Tensor] = []
        try:
            if loss.function is None:  # the loss is itself a leaf: dL/dL = 1
                self._complete(loss)
            while tape:
                self._step_back(tape[-1], interior)
                tape.pop().release()
                while leaves and leaves[-1].position >= len(tape):
                    done.append(leaves.pop())
                    self._complete(done[-1])
        except BaseException:
            for leaf in done:  # half of a gradient is none: no optimizer shall step on it
                if leaf.parameter is not None:
                    leaf.parameter.reached -= 1
            raise
        finally:
            self.records = [record.with_gradient() for record in listing]
            self.reset()

    def _seed(self, loss: Tensor, gradient: ArrayLike | None) -> Array:
        if not isinstance(loss, Tensor) or loss.graph is not self:
            raise ValueError("backward expects a tensor of this graph, made by operations on graph.tensor(...)")
        if not loss.requires_grad:
            raise RuntimeError(
                "this loss does not depend on anything that wants a gradient: "
                "open an input with requires_grad=True, or use a parameter"
            )
        if loss.position == SPENT:
            raise RuntimeError(
                "the tape of this loss is spent: backward and reset empty it. Compute the loss again before the next "
                "backward, or add the losses up and call backward once"
            )
        if gradient is None:
            if loss.data.size != 1:
                raise ValueError(
                    f"backward expects a scalar loss, got shape {loss.shape}: take its sum() or mean(), "
                    "or pass gradient=..."
                )
            return self.backend.full(loss.shape, 1.0, loss.data.dtype)
        seed = self.backend.asarray(gradient, loss.data.dtype)
        if seed.shape != loss.shape:
            raise ValueError(f"backward expects a gradient of the loss's shape {loss.shape}, got {seed.shape}")
        return seed.copy()

    def _step_back(self, function: Function, interior: bool) -> None:
        """One node: take its output's gradient, and hand the inputs theirs."""
        output: Any = function.output
        try:
            if type(output) is Tensor:
                dy = take_pending(output, interior)
                gradients = None if dy is None else function.backward(self, dy)
                reached = dy is not None
            else:
                dys = [take_pending(y, interior) for y in output]
                reached = any(dy is not None for dy in dys)
                gradients = function.backward(self, *dys) if reached else None
            if self.check is not None:
                self.check()
        except Exception as error:
            self._explain(error, function, function.inputs, "backward")
            raise
        if reached:
            if type(gradients) is not tuple and type(gradients) is not list:
                gradients = (gradients,)
            if len(gradients) != len(function.inputs):
                raise ValueError(
                    f"{type(function).__name__}.backward must return one gradient per input: "
                    f"expected {len(function.inputs)}, got {len(gradients)}"
                )
            for x, dx in zip(function.inputs, gradients, strict=True):
                if dx is not None and x.requires_grad:
                    if type(dx) is not self.array_type:  # NumPy's products of 0-d arrays are scalars
                        dx = self.backend.asarray(dx, x.data.dtype)
                    if dx.shape != x.data.shape:
                        turned = " (transposed)" if tuple(dx.shape) == x.shape[::-1] else ""
                        raise ValueError(
                            f"{type(function).__name__}.backward must return gradients of its inputs' shapes: "
                            f"expected {x.shape}, got {dx.shape}{turned}"
                        )
                    if x.pending is None:
                        x.pending = dx
                    else:
                        x.pending += dx

    def _complete(self, leaf: Tensor) -> None:
        """Move a leaf's gradient to where its reader looks for it."""
        gradient, leaf.pending, leaf.position = leaf.pending, None, UNOPENED
        if gradient is None:
            return
        if leaf.parameter is not None:
            leaf.parameter.receive(gradient, self._accumulate)
            leaf.grad = leaf.parameter.grad
            if self.listener is not None:
                self.listener(leaf.parameter)
        elif self._accumulate and leaf.grad is not None:
            leaf.grad = leaf.grad + gradient  # not in place: somebody may hold the old one
        else:
            leaf.grad = gradient

    def gradients(self, function: Function) -> list[Array | None]:
        """An array to write for each input of a function, None where nobody needs the gradient.

        A parameter used for the first time in this backward gets its own gradient slot, so that the gradient is written
        once, where the optimizer reads it; anything else gets a recycled array.
        """
        arrays: list[Array | None] = []
        for x in function.inputs:
            if not x.requires_grad:
                arrays.append(None)
            elif x.parameter is None or x.pending is not None or self._accumulate:
                arrays.append(self.empty(*x.data.shape))
            else:
                slot = x.parameter.slot
                usable = slot is not None and slot.dtype == self.dtype and function.inputs.count(x) == 1
                arrays.append(slot if usable else self.empty(*x.data.shape))
        return arrays

    def reset(self) -> None:
        """Empty the tape and forget this step's tensors; the arrays go back to the backend."""
        for function in self.tape:
            function.release()
        for leaf in self._leaves:
            leaf.pending, leaf.position = None, UNOPENED
        self.tape.clear()
        self._leaves.clear()
        self._parameters.clear()
        self._calls.clear()
        self.losses.clear()

    def end_step(self, scale: Array) -> None:
        """Make the collected updates, each once; ``scale`` is 0 where the optimizer skipped the step."""
        updates, self.updates = self.updates or [], []
        for change in updates:
            change(scale)

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: Any) -> None:
        self.reset()

    def __str__(self) -> str:
        """A line per node: what it is, its value, and its gradient where ``backward(interior=True)`` kept it."""
        return "\n".join(map(str, records(self.tape) or self.records)) or (
            "Graph with an empty tape; backward(loss, interior=True) keeps a listing of the nodes"
        )


def nothing() -> None:
    """What there is to wait for on a CPU."""


def take_pending(tensor: Tensor, keep: bool) -> Array | None:
    """The gradient that has gathered at a node's output; a copy stays in ``grad`` where somebody wants to see it."""
    dy, tensor.pending = tensor.pending, None
    if keep and dy is not None:
        tensor.grad = dy.copy()
    return dy
