"""A model as a record that JSON can hold, and back: its layers, how they call each other, and under which names.

{"layers": [...], "model": k, "trainable": [...]}: a list of layers, models among them, each behind those that it refers
to by number, so that a layer that several models share is one here too; and the flags of all layers, also of those that
a layer of the user's own makes inside. Classes are found by name in ``tinynn.layers`` or ``custom_objects``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn import layers
from tinynn.config import find_class, plain
from tinynn.layers.base import Layer, Symbol
from tinynn.layers.input import Input
from tinynn.models.model import Model
from tinynn.models.sequential import Sequential

Record = dict[str, Any]
Objects = Mapping[str, Any]


# -- to a record -------------------------------------------------------------------------------------------------------


class Writer:
    """The records of layers, each written once."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.numbers: dict[int, int] = {}

    def number(self, layer: Layer) -> int:
        """Where a layer stands in the list; it is added at its first mention."""
        if id(layer) not in self.numbers:
            record = self.record(layer)
            self.numbers[id(layer)] = len(self.records)
            self.records.append(record)
        return self.numbers[id(layer)]

    def record(self, layer: Layer) -> Record:
        common = {"class": type(layer).__name__, "trainable": layer.trainable, "auto_named": layer.auto_named}
        if type(layer) is Sequential:
            return {**common, **self.of_stack(layer)}
        if type(layer) is Model and hasattr(layer, "order"):
            return {**common, **self.of_calls(layer)}
        common["own"] = not type(layer).__module__.startswith("tinynn.")
        config = named_functions(plain(layer.config()), f"layer '{layer.label}'")
        return {**common, "name": layer.name, "config": config, "built_for": layer.built_for}

    def of_stack(self, model: Sequential) -> Record:
        inside = [self.number(layer) for layer in model.stack]
        return {"name": model.name, "input": [model.built_for, model.input_dtype], "stack": inside}

    def of_calls(self, model: Model) -> Record:
        """The symbols in order of their calls; inputs and results of calls are named by their number."""
        at = {id(s): i for i, s in enumerate([*model.inputs, *model.order])}
        calls: list[Record] = [{"shape": s.shape, "name": s.name, "dtype": s.dtype} for s in model.inputs]
        for symbol in model.order:
            inputs = [at[id(s)] for s in symbol.inputs]
            if symbol.layer is None:
                calls.append({"of": inputs[0], "index": symbol.index})
                continue
            what = f"the call of layer '{symbol.layer.label}'"
            calls.append(
                {
                    "layer": self.number(symbol.layer),
                    "inputs": inputs,
                    "list": symbol.takes_list,
                    "options": named_functions(plain_options(symbol.options), what),
                }
            )
        outputs = [at[id(s)] for s in model.outputs]
        record = {"name": model.name, "inputs": len(model.inputs), "calls": calls, "outputs": outputs}
        given = {key: vars(model)[key] for key in ("input_names", "output_names") if key in vars(model)}
        return {**record, "names": given} if given else record


def to_record(model: Model) -> Record:
    """A built model; TypeError for what cannot be written down, such as a Lambda."""
    model.require_built("saving")
    writer = Writer()
    number = writer.number(model)
    flags = [layer.trainable for layer in model.all_layers()]
    return {"layers": writer.records, "model": number, "trainable": flags}


def plain_options(options: Mapping[str, Any]) -> Record:
    """What a call was given; arrays (a mask that all rows share) become lists."""
    return {
        k: {"array": v.tolist(), "dtype": str(v.dtype)} if isinstance(v, np.ndarray) else v for k, v in options.items()
    }


def named_functions(value: Any, owner: str) -> Any:
    """A record in which functions are {"function": name}: they are looked up in ``custom_objects`` again."""
    if isinstance(value, dict):
        return {k: named_functions(v, owner) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [named_functions(v, owner) for v in value]
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        if not name.isidentifier():
            raise TypeError(f"{owner} holds a function without a name ({name}), which cannot be saved: give it one")
        return {"function": name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{owner} holds {value!r}, which cannot be saved: keep numbers, texts and lists as constructor arguments, or "
        "objects with a config()"
    )


# -- and back ----------------------------------------------------------------------------------------------------------


class Reader:
    """Layers from their records."""

    def __init__(self, records: Sequence[Record], custom_objects: Objects | None, backend: Any):
        self.records, self.objects, self.backend = records, dict(custom_objects or {}), backend
        self.layers: list[Layer] = []

    def read(self, number: int) -> Model:
        """The model of that number; all layers before it are made first."""
        for record in self.records[: number + 1]:
            self.layers.append(self.layer(record))
        model = self.layers[number]
        if not isinstance(model, Model):
            raise ValueError(f"the file holds a layer of class {type(model).__name__}, not a model")
        return model

    def layer(self, record: Record) -> Layer:
        made: Callable[[Record], Layer] = self.of_config
        if "stack" in record:
            made = self.of_stack
        elif "calls" in record:
            made = self.of_calls
        layer = made(record)
        layer.trainable, layer.auto_named = bool(record["trainable"]), bool(record["auto_named"])
        return layer

    def of_config(self, record: Record) -> Layer:
        table = {name: value for name, value in self.objects.items() if isinstance(value, type)}
        if record.get("own") and record["class"] not in table:
            raise ValueError(
                f"layer '{record['name']}' is of an unknown class {record['class']}, which is none of tinynn's: "
                f"give it, as in custom_objects={{'{record['class']}': {record['class']}}}"
            )
        cls = layers.get_class(record["class"], {} if record.get("own") is False else table)
        inside = objects_of(functions_of(record["config"], self.objects), table)
        layer: Layer = cls.from_config({key: as_tuples(value) for key, value in inside.items()})
        layer.name = record["name"]
        if isinstance(layer, Model) and record["built_for"] is not None:
            layer.ensure_built(as_shape(record["built_for"]))
        return layer

    def of_stack(self, record: Record) -> Layer:
        model = Sequential(name=record["name"], backend=self.backend)
        shape, model.input_dtype = record["input"]
        model.input_shape = as_shape(shape)
        for number in record["stack"]:
            model.add(self.layers[number])
        return model

    def of_calls(self, record: Record) -> Layer:
        values: list[Any] = []
        for i, call in enumerate(record["calls"]):
            if i < record["inputs"]:
                values.append(Input(as_shape(call["shape"]), dtype=call["dtype"], name=call["name"]))
            elif "of" in call:
                values.append(values[call["of"]][call["index"]])
            else:
                inputs: list[Symbol] = [values[k] for k in call["inputs"]]
                options = {k: as_option(v) for k, v in functions_of(call["options"], self.objects).items()}
                values.append(self.layers[call["layer"]].symbols(inputs if call["list"] else inputs[0], options))
        inputs, outputs = values[: record["inputs"]], [values[k] for k in record["outputs"]]
        names = record.get("names", {})
        return Model(
            dict(zip(names["input_names"], inputs, strict=True)) if "input_names" in names else inputs,
            dict(zip(names["output_names"], outputs, strict=True)) if "output_names" in names else outputs,
            name=record["name"],
            backend=self.backend,
        )


def from_record(record: Record, custom_objects: Objects | None = None, backend: Any = None) -> Model:
    """The model; ValueError names a class or function that is not known."""
    model = Reader(record["layers"], custom_objects, backend).read(record["model"])
    everything, flags = model.all_layers(), record.get("trainable", [])
    if len(everything) == len(flags):
        for layer, flag in zip(everything, flags, strict=True):
            layer.trainable = bool(flag)
    return model


def model_from_json(text: str, custom_objects: Objects | None = None) -> Model:
    """The model whose architecture ``model.to_json()`` gave, with weights of its own."""
    return from_record(json.loads(text), custom_objects)


def clone_model(model: Model, custom_objects: Objects | None = None) -> Model:
    """A model of the same architecture with weights of its own, not compiled."""
    return model_from_json(model.to_json(), custom_objects)


def functions_of(value: Any, objects: Objects) -> Any:
    """A record with its functions in place."""
    if isinstance(value, dict):
        if set(value) == {"function"}:
            return find_class(value["function"], dict(objects), "function (give it in custom_objects):")
        return {k: functions_of(v, objects) for k, v in value.items()}
    if isinstance(value, list):
        return [functions_of(v, objects) for v in value]
    return value


def objects_of(value: Any, objects: Objects) -> Any:
    """A record with objects of the user's own in place: {"class": name, "config": {...}} where objects has the name."""
    if isinstance(value, dict):
        value = {key: objects_of(inside, objects) for key, inside in value.items()}
        if set(value) == {"class", "config"} and value["class"] in objects:
            return objects[value["class"]](**{key: as_tuples(inside) for key, inside in value["config"].items()})
        return value
    return [objects_of(inside, objects) for inside in value] if isinstance(value, list) else value


def as_option(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"array", "dtype"}:
        return np.asarray(value["array"], value["dtype"])
    return value


def as_tuples(value: Any) -> Any:
    """Sizes such as [3, 3] as they are written in programs; lists of anything else stay lists."""
    if isinstance(value, list) and value and all(n is None or isinstance(n, int) for n in value):
        return tuple(value)
    return value


def as_shape(value: Any) -> Any:
    """JSON knows lists only: a shape is a tuple, several shapes are a list of tuples."""
    if value is None:
        return None
    return [tuple(v) for v in value] if any(isinstance(v, list) for v in value) else tuple(value)
