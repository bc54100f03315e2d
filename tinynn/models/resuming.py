"""A run of ``fit`` on disk: everything that decides how it goes on, between two batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tinynn import files, schedules
from tinynn.models import saving
from tinynn.models.callbacks import Callback, History
from tinynn.random import Stream

if TYPE_CHECKING:
    from tinynn.models.training import Run

METER, CALLBACKS = "meter/", "callbacks/"


def save(run: Run, path: saving.Path) -> None:
    """Write where a run stands; a crash leaves the file of before."""
    meter, meter_arrays = run.meter.state()
    record: dict[str, Any] = {
        "run": what(run),
        "stream": saving.stream_record(run.model),
        "at": [run.number, run.batch, run.order_number],
        "rate": constant_rate(run),
        "meter": meter,
        "callbacks": [],
        "history": [],
    }
    arrays = saving.all_arrays(run.model)
    arrays |= {METER + name: array for name, array in meter_arrays.items()}
    for i, callback in enumerate(run.callbacks.callbacks):
        own, own_arrays = callback.state()
        record["callbacks"].append([type(callback).__name__, own])
        arrays |= {f"{CALLBACKS}{i}/{name}": array for name, array in own_arrays.items()}
    record["history"] = [history_of(run).history, history_of(run).epoch]
    files.write(path, record, arrays)


def restore(run: Run, path: saving.Path) -> None:
    """Take a run up where the file says it stood. ValueError where model, data or callbacks are others."""
    record, arrays = files.read(path)
    model, name = run.model, os.fspath(path)
    try:
        said, here = record["run"], what(run)
        callbacks: list[Callback] = run.callbacks.callbacks
        others = [kind for kind, _ in record["callbacks"]] != [type(c).__name__ for c in callbacks]
        if said != here or others:
            raise ValueError(
                f"it was made of a run with {said}, this one has {here}" if said != here else "other callbacks"
            )
        weights, slots = saving.part(arrays, saving.WEIGHTS), saving.part(arrays, saving.SLOTS)
        mine = saving.slots_of(model)
        saving.complain(f"'{model.label}'", model.named_variables(), weights)
        saving.complain(f"the optimizer of '{model.label}'", mine, slots)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be taken up: {error}. Start the same script, or take the folder away to begin anew"
        ) from None
    seed, index, step, model.shuffles = record["stream"]
    model.stream = Stream(seed, index)
    model.stream.step[...] = step
    model.name_variables()
    saving.set_weights(model, weights, strict=True)
    for key, array in mine.items():
        array[...] = model.backend.asarray(slots[key], array.dtype)
    if record["rate"] is not None:
        run.optimizer.learning_rate = record["rate"]
    saving.set_states(model, saving.part(arrays, saving.STATES))
    run.number, run.batch, run.order_number = record["at"]
    run.meter.restore(record["meter"], saving.part(arrays, METER))
    for i, (callback, (_, own)) in enumerate(zip(callbacks, record["callbacks"], strict=True)):
        callback.restore(own, saving.part(arrays, f"{CALLBACKS}{i}/"))
    history_of(run).history, history_of(run).epoch = record["history"]


def what(run: Run) -> dict[str, Any]:
    """What must be the same when the script is started again."""
    feed = run.feed
    return {
        "rows": feed.rows,
        "batch_size": feed.batch_size,
        "steps": feed.steps,
        "shuffle": bool(getattr(feed, "shuffle", False)),
    }


def constant_rate(run: Run) -> float | None:
    """The learning rate, unless a schedule makes it: callbacks may have changed it."""
    schedule = run.optimizer.schedule
    return float(schedule.learning_rate) if isinstance(schedule, schedules.Constant) else None


def history_of(run: Run) -> History:
    history = run.model.history
    assert history is not None
    return history
