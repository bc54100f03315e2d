"""Layer: parameters plus one or two Functions. Symbol: the shape of a tensor that is still to come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tinynn.config import config_of
from tinynn.parameter import Parameter, Variable
from tinynn.random import Stream
from tinynn.tensor import Tensor
from tinynn.typing import ArrayLike, Shape

Shapes = Shape | list[Shape]
"""What ``build`` is told: one shape, or a list of them for a layer that is called with a list."""


class Symbol:
    """A stand-in for a tensor while a functional model is written down: a shape, and the call that will make it."""

    def __init__(
        self,
        shape: Shape,
        layer: Layer | None = None,
        inputs: Sequence[Symbol] = (),
        name: str | None = None,
        dtype: str | None = None,
        takes_list: bool = False,
    ):
        self.shape = tuple(shape)
        """Without the batch axis."""
        self.layer = layer
        self.inputs = list(inputs)
        self.name = name
        self.dtype = dtype
        self.takes_list = takes_list
        """Whether the layer was called with a list, as Add and Concatenate are."""

    def __repr__(self) -> str:
        made = f" made by {self.layer.name}" if self.layer is not None else ""
        return f"<Symbol {(None, *self.shape)}{made}>"


class Layer:
    """The base of all layers, built in and your own.

    >>> class Scale(Layer):
    ...     def __init__(self, start="ones", **base):
    ...         super().__init__(**base)
    ...         self.start = start
    ...     def build(self, input_shape):
    ...         self.scale = Parameter(input_shape[-1:], self.start)
    ...         return input_shape
    ...     def forward(self, x):
    ...         return x * x.graph.parameter(self.scale)

    A layer keeps every constructor argument under its own name, so that ``config()`` can read it back. ``build`` gets
    the shape without the batch axis, assigns the parameters and returns the output shape; ``forward`` computes with
    tensors. Parameters, buffers and inner layers are found by walking ``vars(self)`` in order of assignment.

    name:        unique in its model; a model gives ``dense``, ``dense_1``, ... where there is none
    trainable:   False freezes the layer (and what it contains) at the next ``compile``
    input_shape: of a model's first layer, without the batch axis
    """

    name: str | None = None
    trainable = True
    frozen = False
    """``trainable`` as the last ``compile`` saw it, of this layer and of those that contain it."""
    built = False
    input_shape: Any = None
    """The constructor's argument."""
    built_for: Any = None
    output_shape: Any = None
    """The shapes it was built for and gives, without the batch axis."""
    input_dtype: str | None = None
    """What the model's door converts inputs to; None for the compute dtype, "int32" for a layer that reads indices."""
    stream: Stream | None = None
    auto_named = False
    """Whether a model gave the name, and may give another one."""

    def __init__(
        self, *, name: str | None = None, trainable: bool = True, input_shape: Sequence[int] | int | None = None
    ):
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"{type(self).__name__} expects a name that is a text without '/', got {name!r}")
        self.name = name
        self.trainable = bool(trainable)
        if input_shape is not None:
            self.input_shape = checked_shape(input_shape, self)

    # -- to be written by each layer ---------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> Any:
        """Declare the parameters for inputs of this shape (no batch axis) and return the output shape."""
        return input_shape

    def forward(self, x: Any) -> Any:
        """Compute with tensors of the graph ``x.graph``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x)")

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any) -> Any:
        """Apply to a Tensor (compute) or a Symbol (write down), or a list of either; builds at the first call."""
        first = x[0] if isinstance(x, (list, tuple)) and x else x
        if isinstance(first, Symbol):
            many = isinstance(x, (list, tuple))
            inputs = list(x) if many else [x]
            shapes = [s.shape for s in inputs]
            return Symbol(self.ensure_built(shapes if many else shapes[0]), self, inputs, takes_list=many)
        if not isinstance(first, Tensor):
            raise TypeError(
                f"layer '{self.label}' expects a Tensor, got {type(first).__name__}: open a graph first, "
                "as in layer(graph.tensor(x)), or use model.predict(x)"
            )
        if x is first:
            if not self.built or x.data.shape[1:] != self.built_for:
                self.ensure_built(x.shape[1:])
        else:
            self.ensure_built([t.shape[1:] for t in x])
        if self.stream is None:
            self.owns_stream = True
            self.bind(Stream(), self.label)
        if self.owns_stream and first.graph.training:
            self.stream.advance()  # type: ignore[union-attr]
        return self.forward(x)

    owns_stream = False
    """Whether the layer is used without a model, so that nobody else counts its steps."""

    def ensure_built(self, input_shape: Any) -> Any:
        """Build at the first call; afterwards check that the shape fits. Returns the output shape."""
        if not self.built:
            output_shape = self.build(input_shape)
            if output_shape is None:
                raise TypeError(f"build of layer '{self.label}' must return the output shape, got None")
            self.built_for, self.output_shape, self.built = input_shape, output_shape, True
            if self.stream is not None:  # built inside another layer's forward: its variables want names too
                self.bind(self.stream, self.path, self.bound_backend)
            if self.frozen or not self.trainable:
                self.freeze(self.frozen)
            return output_shape
        return self.output_shape if input_shape == self.built_for else self.shape_for(input_shape)

    def shape_for(self, input_shape: Any) -> Any:
        """The output shape for another input shape than the one built for; ValueError where it does not fit."""
        raise ValueError(
            f"layer '{self.label}' was built for inputs of shape {shown(self.built_for)}, got {shown(input_shape)}: "
            "reshape the input, or use a new layer"
        )

    @property
    def label(self) -> str:
        """The name, or what the name would be."""
        return self.name or snake_case(type(self).__name__)

    # -- parameters --------------------------------------------------------------------------------------------------

    def variables(self) -> list[Variable]:
        """All parameters and buffers, those of inner layers included, each once, in order of assignment."""
        return list(dict.fromkeys(variable for _, variable in walk_variables(self, "")))

    @property
    def weights(self) -> list[Variable]:
        """All parameters and buffers, as Keras calls them."""
        return self.variables()

    def parameters(self) -> list[Parameter]:
        """The parameters (not the buffers), frozen ones included."""
        return [v for v in self.variables() if isinstance(v, Parameter)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The parameters that are not frozen, by ``trainable`` here or further inside."""
        return list(dict.fromkeys(trained(self)))

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trained = set(map(id, self.trainable_weights))
        return [v for v in self.variables() if id(v) not in trained]

    def count_params(self) -> int:
        """The number of values in all parameters and buffers."""
        self.require_built("count_params")
        return sum(v.size for v in self.variables())

    def get_weights(self) -> list[Any]:
        """Copies of all weights as NumPy arrays."""
        self.require_built("get_weights")
        return [v.numpy() for v in self.variables()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Overwrite all weights, in the order of ``get_weights``; nothing changes unless every shape fits."""
        self.require_built("set_weights")
        variables = self.variables()
        arrays = [v._home().asarray(w, v.dtype) for v, w in zip(variables, weights, strict=False)]
        if len(weights) != len(variables):
            raise ValueError(f"'{self.label}' has {len(variables)} weights, got a list of {len(weights)}")
        for variable, array in zip(variables, arrays, strict=True):
            if tuple(array.shape) != variable.shape:
                raise ValueError(
                    f"'{self.label}': weight {variable.name} has shape {variable.shape}, got {tuple(array.shape)}"
                )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def require_built(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(
                f"'{self.label}' has no weights yet, so {what} has nothing to work on: give input_shape=... to its "
                "first layer, call build(input_shape), or call it on data first"
            )

    def layers_inside(self) -> Iterator[Layer]:
        """The layers directly inside this one, in order of assignment."""
        for _, value in walk(vars(self)):
            if isinstance(value, Layer):
                yield value

    def bind(self, stream: Stream, path: str, backend: Any = None) -> None:
        """Give this layer, its variables and inner layers their random stream and their paths."""
        self.stream, self.path, self.bound_backend = stream, path, backend
        prefix = f"{path}/" if path else ""
        for key, value in walk(vars(self)):
            if isinstance(value, Layer):
                value.bind(stream, f"{prefix}{value.name or key}", backend)
                value.owns_stream = False
            elif isinstance(value, Variable):
                value.name = f"{prefix}{key}"
                if value.stream is None or not value.drawn:
                    value.stream = stream
                if backend is not None and not value.drawn:
                    value.backend = backend

    path: str = "layer"
    bound_backend: Any = None

    def freeze(self, frozen: bool = False) -> None:
        """Make ``trainable`` take effect, here and inside: what ``compile`` does."""
        self.frozen = frozen or not self.trainable
        for _, value in walk(vars(self)):
            if isinstance(value, Layer):
                value.freeze(self.frozen)
            elif isinstance(value, Parameter):
                value.trainable = value.trained and not self.frozen

    # -- saving ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict that JSON can hold; ``Class(**config)`` is an equal layer."""
        return config_of(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"


# -- helpers ---------------------------------------------------------------------------------------------------------


def snake_case(name: str) -> str:
    """Keras's layer names: Dense -> dense, MaxPooling2D -> max_pooling2d, BatchNormalization -> batch_normalization."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def walk(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The layers and variables among attributes, and inside lists, tuples and dicts of them, with a name for each."""
    for key, value in attributes.items():
        if isinstance(value, (Layer, Variable)):
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"{key}_{k}", v) for k, v in walk({str(k): v for k, v in value.items()}))
        elif isinstance(value, (list, tuple)):
            yield from ((f"{key}_{k}", v) for k, v in walk({str(k): v for k, v in enumerate(value)}))


def walk_variables(layer: Layer, path: str) -> Iterator[tuple[str, Variable]]:
    """Every variable of a layer and of the layers inside it, with its path below the layer."""
    for key, value in walk(vars(layer)):
        if isinstance(value, Layer):
            yield from walk_variables(value, f"{path}{value.name or key}/")
        else:
            yield f"{path}{key}", value


def trained(layer: Layer) -> Iterator[Variable]:
    """The parameters of a layer that the next ``compile`` will train."""
    if layer.trainable:
        for _, value in walk(vars(layer)):
            if isinstance(value, Layer):
                yield from trained(value)
            elif isinstance(value, Parameter) and value.trained:
                yield value


def checked_shape(shape: Sequence[int] | int, layer: Layer) -> Shape:
    """A shape of positive integers, None allowed for an open axis."""
    sizes: tuple[Any, ...] = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    for n in sizes:
        if n is not None and (isinstance(n, bool) or not hasattr(n, "__index__") or n <= 0):
            raise ValueError(f"layer '{layer.label}' expects an input_shape of positive integers, got {shape!r}")
    return tuple(n if n is None else int(n) for n in sizes)  # type: ignore[misc]


def shown(shape: Any) -> str:
    """A shape with its batch axis, as summaries print it."""
    if isinstance(shape, list):
        return str([(None, *s) for s in shape])
    return str((None, *shape))


def checked_axis(axis: int, input_shape: Shape, layer: Layer) -> int:
    """An axis as Keras counts it (0 is the batch, -1 the last) as a place in a shape without the batch."""
    rank = len(input_shape) + 1
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise ValueError(
            f"layer '{layer.label}' expects an axis from 1 to {rank - 1} (or -1 to {1 - rank}) for inputs of shape "
            f"{shown(input_shape)}, got axis={axis}"
        )
    if input_shape[place - 1] is None:
        raise ValueError(
            f"layer '{layer.label}' expects axis {axis} to be of known size, got inputs of shape {shown(input_shape)}"
        )
    return place - 1
