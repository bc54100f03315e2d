"""Network: layers wired together, under names, on a backend; and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tinynn import backends
from tinynn.backends import Backend
from tinynn.errors import nearest
from tinynn.graph import Graph
from tinynn.layers.base import Fallback, Layer, Symbol, probed_shape, snake_case
from tinynn.layers.recurrent import Recurrent
from tinynn.models import functional, fusion, ports
from tinynn.models.compiled import Compiled
from tinynn.models.summary import Row, table
from tinynn.parameter import Parameter, Variable
from tinynn.random import Stream


class Network(Layer):
    """What a model is before it is trained: a layer made of layers."""

    compiled: Compiled | None = None

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        backend: str | Backend | None = None,
    ):
        super().__init__(name=name)
        self.name = name or snake_case(type(self).__name__)
        self.auto_named = name is None
        self.stream = Stream()
        self.names: dict[int, str] = {}
        """Names that layers have in this model only, because their own was taken here."""
        if isinstance(backend, str) and backend not in backends.NAMES:
            backends.get(backend)
        self._backend = backend
        self._plan: fusion.Plan | None = None
        if inputs is not None:
            self._wire(inputs, outputs)

    # -- structure ---------------------------------------------------------------------------------------------------

    def _wire(self, inputs: Any, outputs: Any) -> None:
        """The functional form: find the calls between inputs and outputs."""
        if isinstance(inputs, Mapping):
            self.input_names, inputs = list(inputs), list(inputs.values())
        if isinstance(outputs, Mapping):
            self.output_names, outputs = list(outputs), list(outputs.values())
            self.gives_dict = True
        self.inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        # Old listings write Model(inputs=[x], outputs=[y]); lists of one are that one.
        self.many_inputs, self.many_outputs = len(self.inputs) != 1, len(self.outputs) != 1
        for symbol in [*self.inputs, *self.outputs]:
            if not isinstance(symbol, Symbol):
                raise TypeError(
                    f"'{self.label}' expects inputs and outputs made by Input(...) and layers called on them, "
                    f"got {symbol!r}"
                )
        self.order = functional.call_order(self.inputs, self.outputs)
        self.stack = functional.layers_of(self.order)
        named: list[Layer] = []
        for layer in self.stack:
            self.take_name(layer, self.free_name(layer, named))
            named.append(layer)
        self.input_dtype = self.inputs[0].dtype
        shapes, results = [s.shape for s in self.inputs], [s.shape for s in self.outputs]
        self.built_for = shapes if self.many_inputs else shapes[0]
        self.output_shape = results if self.many_outputs else results[0]
        self.built = True
        self.name_variables()

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, in order."""
        return list(self.layers_inside())

    gives_dict = False
    """Whether ``predict`` gives a dict, because the outputs of the functional form came as one."""

    @Fallback
    def input(self) -> Any:
        """The symbol where the model begins, or the list of them."""
        return self.ends("inputs")

    @Fallback
    def output(self) -> Any:
        """The symbol where the model ends, or the list of them."""
        return self.ends("outputs")

    def ends(self, which: str) -> Any:
        if not hasattr(self, "order"):
            raise AttributeError(f"'{self.label}' has no {which}: it was not made as Model(inputs, outputs)")
        symbols: list[Symbol] = getattr(self, which)
        return symbols if (self.many_inputs if which == "inputs" else self.many_outputs) else symbols[0]

    @Fallback
    def input_names(self) -> list[str]:
        """The names of the inputs, for data in a dict: those of ``Input(name=...)``, by default input_layer, ...

        A model with a forward of its own may set this attribute.
        """
        if not hasattr(self, "order"):
            count = len(self.built_for) if isinstance(self.built_for, list) else 1
            return ports.unique(["input_layer"] * count)
        return ports.unique(symbol.name or "input_layer" for symbol in self.inputs)

    @Fallback
    def output_names(self) -> list[str]:
        """The names of the outputs, for targets, losses and metrics in a dict: those of the layers that give them.

        A model with a forward of its own has output_1, output_2, ..., unless it sets this attribute.
        """
        layers = self.last_layers()
        if not hasattr(self, "order") and isinstance(self.output_shape, list):
            return [f"output_{k + 1}" for k in range(len(self.output_shape))]
        if len(layers) == 1:
            return [self.last_name if layers[0] is None else self.name_of(layers[0], layers[0].label)]
        return ports.unique(
            s.name or "input_layer" if layer is None else self.name_of(layer, layer.label)
            for s, layer in zip(self.outputs, layers, strict=True)
        )

    def last_layers(self) -> list[Layer | None]:
        """The layer that gives each output; None where that is an input, or only ``forward`` knows."""
        if hasattr(self, "order"):
            return [(s.inputs[0] if s.layer is None and s.inputs else s).layer for s in self.outputs]
        return [None] * (len(self.output_shape) if isinstance(self.output_shape, list) else 1)

    @property
    def last_name(self) -> str:
        """The layer that gives the only output, for messages; the model where that is not known."""
        last = self.last_layers()
        if len(last) == 1 and last[0] is None and not hasattr(self, "order") and self.layers:
            return self.layers[-1].label
        return self.label if len(last) != 1 or last[0] is None else last[0].label

    @property
    def first_name(self) -> str:
        return self.layers[0].label if self.layers else self.label

    def free_name(self, layer: Layer, others: Iterable[Layer]) -> str:
        """The name a layer gets in this model: its own, or ``dense``, ``dense_1``, ...; ValueError if both insist."""
        taken = {self.name_of(other, other.label) for other in others}
        if layer.name is not None and layer.name not in taken:
            return layer.name
        if layer.name is not None and not layer.auto_named:
            raise ValueError(
                f"'{self.label}' has two layers of the name '{layer.name}': give one of them another name=..."
            )
        base, k = snake_case(type(layer).__name__), 0
        while (name := f"{base}_{k}" if k else base) in taken:
            k += 1
        return name

    def take_name(self, layer: Layer, name: str) -> None:
        """A layer without a name takes this one for good; one that another model named has it here only."""
        if layer.name is None:
            layer.name, layer.auto_named = name, True
        elif layer.name != name:
            self.names[id(layer)] = name

    def name_of(self, layer: Layer, key: str) -> str:
        return self.names.get(id(layer)) or layer.name or key

    @property
    def root_path(self) -> str:
        """The variables of a model are called ``dense/kernel``, without the model's own name."""
        return ""

    def name_variables(self) -> None:
        """Give new variables inside their paths and this model's random stream."""
        assert self.stream is not None
        self.bind(self.stream, "", self.backend if self._backend is not None else None)
        self.substreams, self.bound = {}, True

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its position; LookupError names the nearest."""
        if (name is None) == (index is None):
            raise ValueError("get_layer expects a name or an index")
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if self.name_of(layer, layer.label) == name:
                return layer
        known = [self.name_of(layer, layer.label) for layer in self.layers]
        raise LookupError(f"'{self.label}' has no layer '{name}': {nearest(str(name), known)}")

    def __call__(self, x: Any, **options: Any) -> Any:
        if isinstance(x, Mapping):
            x = ports.in_order(x, self.input_names, f"'{self.label}'", "input")
        one = isinstance(x, (list, tuple)) and len(x) == 1 and not getattr(self, "many_inputs", True)
        return super().__call__(x[0] if one else x, **options)

    def carry_mask(self, x: Any, y: Any) -> None:
        """The layers inside did it."""

    def build(self, input_shape: Any) -> Any:
        """Of a model with a forward of its own: one call on zeros, which draws nothing."""
        return probed_shape(self, input_shape)

    def forward(self, x: Any) -> Any:
        """The functional form's calls; a subclass may write its own with the layers that its constructor made."""
        return self.run(x)

    def run(self, x: Any, visit: functional.Visit = None) -> Any:
        """Forward, layer by layer; ``visit(layer, output)`` sees every call."""
        if not hasattr(self, "order"):
            raise NotImplementedError(
                f"'{self.label}' has no forward: make it as Model(inputs, outputs), or write forward(x)"
            )
        tensors = x if self.many_inputs else [x]
        fused = visit is None and tensors[0].graph.fuse
        steps = self.fusion_plan.steps if fused else map(functional.Step, self.order)
        values = functional.run(steps, self.inputs, tensors, visit)
        results = [values[id(s)] for s in self.outputs]
        return results if self.many_outputs else results[0]

    @property
    def fusion_plan(self) -> fusion.Plan:
        """What runs with fused blocks call, settled at the first one."""
        if self._plan is None:
            self._plan = self._planned()
        return self._plan

    def _planned(self) -> fusion.Plan:
        return fusion.of_calls(self.order, self.outputs)

    @property
    def own_forward(self) -> bool:
        """Whether this is a class of the user's own, which computes as it likes."""
        return type(self).forward is not Network.forward

    def trace(self, x: Any) -> list[tuple[Layer, Any]]:
        """Run forward; every layer called with its output. A model with a forward of its own shows only the end."""
        calls: list[tuple[Layer, Any]] = []
        if self.own_forward:
            return [(self, self.forward(x))]
        self.run(x, lambda layer, output: calls.append((layer, output)))
        return calls

    def ensure_built(self, input_shape: Any) -> Any:
        built = self.built
        shape = super().ensure_built(input_shape)
        if not built:
            self.name_variables()
        return shape

    # -- backend -----------------------------------------------------------------------------------------------------

    @property
    def backend(self) -> Backend:
        """The backend of this model. It can be set between two calls of ``fit``.

        Weights, the optimizer's state and recurrent states move along, byte for byte. Models that share layers are set
        one after the other; RuntimeError where another model's optimizer holds weights, which has to move first. After
        a MemoryError everything is where it was.
        """
        return backends.get(self._backend)

    @backend.setter
    def backend(self, backend: str | Backend | None) -> None:
        new, old = backends.get(backend), self.backend
        optimizer = None if self.compiled is None or not self.compiled.optimizer.built else self.compiled.optimizer
        moving = [v for v in self.variables() if v.drawn and not isinstance(v.data, new.array_type)]
        self._require_own_homes(moving, optimizer)
        carried = None if optimizer is None or optimizer.backend.array_type is new.array_type else optimizer.kept()
        try:
            self._carry(moving, new, optimizer, carried)
        except BaseException:
            self._carry(moving, old, optimizer, carried)
            raise
        self._backend = new
        for variable in self.variables():
            variable.backend = new
        if optimizer is not None:
            optimizer.backend = new

    def _carry(self, variables: Iterable[Variable], backend: Backend, optimizer: Any, carried: Any) -> None:
        """Weights, states of recurrent layers, and what the optimizer ``carried`` with it, if anything."""
        for variable in variables:
            variable.carry(backend)
        for layer in self.all_layers():
            if isinstance(layer, Recurrent):
                layer.carry(backend)
        if carried is not None:
            optimizer.carry(backend, carried)

    def _require_own_homes(self, variables: Iterable[Variable], optimizer: Any) -> None:
        """RuntimeError where weights lie in the buffer of an optimizer that is not this model's."""
        for p in variables:
            if isinstance(p, Parameter) and p.home is not None and (optimizer is None or p.home[0] is not optimizer.w):
                raise RuntimeError(
                    f"'{self.label}' cannot move to another backend: {p.name} lies in the buffer of an optimizer that "
                    "another model was compiled with. Set the backend of that model first, then of this one"
                )

    def graph(self, training: bool = False, gradients: bool = True, fuse: bool = False) -> Graph:
        """A fresh graph on this model's backend; ``fuse`` as far as ``compile`` allows it."""
        graph = Graph(backend=self.backend, training=training, gradients=gradients, fuse=fuse)
        if (compiled := self.compiled) is not None:
            graph.frozen, graph.fast_math, graph.fuse = compiled.frozen, compiled.fast_math, fuse and compiled.fuse
        return graph

    def all_layers(self) -> list[Layer]:
        """This model and every layer inside it, at any depth."""
        found: list[Layer] = [self]
        for layer in found:
            found.extend(la for la in layer.layers_inside() if not any(la is other for other in found))
        return found

    # -- states ------------------------------------------------------------------------------------------------------

    def reset_states(self) -> None:
        """Forget the states that recurrent layers with ``stateful=True`` carry from batch to batch."""
        for layer in self.all_layers():
            if isinstance(layer, Recurrent):
                layer.reset_states()

    reset_state = reset_states
    """Keras 3's name."""

    # -- reading -----------------------------------------------------------------------------------------------------

    def summary(self, print_fn: Any = print) -> None:
        """Print Keras's table of layers, output shapes and counts; allocates no weights."""
        self.require_built("summary")
        rows = [
            Row(
                self.name_of(layer, layer.label),
                type(layer).__name__,
                layer.output_shape,
                sum(v.size for v in layer.variables()),
            )
            for layer in self.layers
        ]
        print_fn(table(self.label, rows, self.variables(), {id(v) for v in self.non_trainable_weights}))
