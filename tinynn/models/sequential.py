"""Sequential: a stack of layers, each fed by the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinynn.backends import Backend
from tinynn.layers.base import Layer, Symbol
from tinynn.models import fusion
from tinynn.models.functional import Visit
from tinynn.models.model import Model
from tinynn.tensor import Tensor
from tinynn.typing import Shape


class Sequential(Model):
    """A linear stack of layers.

    >>> from tinynn import Sequential, layers as L
    >>> model = Sequential([L.Dense(512, activation="relu", input_shape=(784,)), L.Dense(10, activation="softmax")])
    >>> model.count_params()
    407050

    layers:  a list of layers; an ``Input(shape)`` may come first; without a shape the first call builds the model
    backend: "cpu", "reference", "gpu", or None for the default
    """

    def __init__(
        self,
        layers: Iterable[Layer | Symbol] | None = None,
        name: str | None = None,
        backend: str | Backend | None = None,
    ):
        super().__init__(name=name, backend=backend)
        self.stack: list[Layer] = []
        self.wired: tuple[Any, Any] | None = None
        """Where the stack begins and ends, as symbols, once its shapes are known."""
        for layer in layers or []:
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        return list(self.stack)

    def add(self, layer: Layer | Symbol) -> None:
        """Put a layer on top; built at once where the shape is known. Refused layers leave the model as it was."""
        if isinstance(layer, Symbol) and layer.layer is None:
            if self.stack or self.input_shape is not None:
                raise ValueError(f"'{self.label}': an Input comes first, and only once")
            self.input_shape, self.input_dtype = layer.shape, layer.dtype
            return
        if not isinstance(layer, Layer):
            raise TypeError(
                f"'{self.label}' expects layers, got {layer!r}"
                + (": write Dense(...)" if isinstance(layer, type) else "")
            )
        if any(layer is other for other in self.stack):
            raise ValueError(
                f"'{self.label}' holds layer '{layer.label}' already: make a second layer, or share one with the "
                "functional Model"
            )
        name = self.free_name(layer, self.stack)
        start = self.input_shape
        if not self.stack and start is None:
            start = layer.input_shape if layer.built_for is None else layer.built_for
        wired = None
        if self.wired is not None:
            wired = self.wired[0], layer(self.one(self.wired[1], self.stack[-1]))
        elif start is not None and not self.stack:
            wired = self.call_on(start, [layer])
        self.input_shape = start
        self.take_name(layer, name)
        self.stack.append(layer)
        self.reshaped(wired)

    def call_on(self, shape: Any, stack: Sequence[Layer]) -> tuple[Any, Any]:
        """Input and output of these layers, called in a row on symbols: so each has an ``output``, and fits."""
        many = isinstance(shape, list)
        inputs = [Symbol(s, dtype=self.input_dtype) for s in (shape if many else [shape])]
        x: Any = inputs if many else inputs[0]
        for k, layer in enumerate(stack):
            x = layer(self.one(x, stack[k - 1]) if k else x)
        return (inputs if many else inputs[0]), x

    def one(self, result: Any, layer: Layer) -> Any:
        """A layer's only result, or its shape; ValueError where it has several."""
        if isinstance(result, list):
            raise ValueError(
                f"'{self.label}' is a stack of layers of one result each, but layer '{layer.label}' gives "
                f"{len(result)} (return_state=True, or merge_mode=None): take them apart in the functional Model"
            )
        return result

    def pop(self) -> Layer:
        """Take the top layer off and return it."""
        if not self.stack:
            raise IndexError(f"'{self.label}' has no layers to pop")
        layer = self.stack.pop()
        self.names.pop(id(layer), None)
        wired, self.wired = self.wired, None
        self.reshaped(self.call_on(shapes_of(wired[0]), self.stack) if wired is not None and self.stack else None)
        return layer

    def reshaped(self, wired: tuple[Any, Any] | None) -> None:
        """Note the shapes and paths after a change of the stack; compile has to be called again."""
        self.compiled = self._plan = None
        self.wired, self.built = wired, wired is not None
        if wired is not None:
            self.built_for, self.output_shape = shapes_of(wired[0]), shapes_of(wired[1])
        self.name_variables()

    def ends(self, which: str) -> Any:
        if self.wired is None:
            raise AttributeError(f"'{self.label}' has no {which} yet: give its first layer an input_shape")
        return self.wired[0 if which == "inputs" else 1]

    @property
    def inputs(self) -> list[Symbol]:  # type: ignore[override]
        """The input as a list, as the functional form has it."""
        start = self.ends("inputs")
        return list(start) if isinstance(start, list) else [start]

    @property
    def outputs(self) -> list[Symbol]:  # type: ignore[override]
        end = self.ends("outputs")
        return list(end) if isinstance(end, list) else [end]

    def last_layers(self) -> list[Layer | None]:
        count = len(self.output_shape) if isinstance(self.output_shape, list) else 1
        return [self.stack[-1] if self.stack else None] * count

    def build(self, input_shape: Any) -> Any:
        """Declare all parameters; ``build((None, 784))``, as Keras writes it, and ``build((784,))`` are the same."""
        return self.ensure_built(input_shape if isinstance(input_shape, list) else given_shape(input_shape))

    def ensure_built(self, input_shape: Any) -> Any:
        if self.built:
            return super().ensure_built(input_shape)
        if not self.stack:
            raise RuntimeError(f"'{self.label}' has no layers: model.add(...) some first")
        wired = self.call_on(input_shape, self.stack)
        compiled = self.compiled
        self.reshaped(wired)
        self.compiled = compiled
        return self.output_shape

    def shape_for(self, input_shape: Any) -> Any:
        if not self.stack or self.stack[0].built_for != self.built_for:
            return super().shape_for(input_shape)  # an Input said what this model takes
        for layer in self.stack:
            input_shape = layer.ensure_built(input_shape)
        return input_shape

    def run(self, x: Tensor, visit: Visit = None) -> Tensor:
        if visit is None and x.graph.fuse:
            for call in self.fusion_plan.steps:
                x = call(x)
            return x
        for layer in self.stack:
            x = layer(x)
            if visit is not None:
                visit(layer, x)
        return x

    def _planned(self) -> fusion.Plan:
        return fusion.of_stack(self.stack)

    def config(self) -> dict[str, Any]:
        return {
            "layers": [{"class": type(layer).__name__, "config": layer.config()} for layer in self.stack],
            "name": self.name,
            "input_shape": self.input_shape,
        }


def shapes_of(symbols: Any) -> Any:
    """The shape of a symbol, or of each of a list."""
    return [s.shape for s in symbols] if isinstance(symbols, list) else symbols.shape


def given_shape(shape: Sequence[int | None]) -> Shape:
    """Keras's ``build((None, 784))`` names the batch axis; ours do not."""
    sizes = tuple(shape)
    return sizes[1:] if sizes and sizes[0] is None else sizes  # type: ignore[return-value]
