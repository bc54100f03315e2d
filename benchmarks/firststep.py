"""One process of ``startup``: the first step of a workload, timed from the start of the program."""

import time

START = time.perf_counter()

import sys  # noqa: E402  (the clock comes first)
from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

FROM_DISK = "(read from disk)"


@dataclass
class Span:
    """A pass of the compiler over a function; or a time in which Numba's lock is held, and the last function then."""

    lock: bool
    function: str | None
    start: float
    within: float = 0.0
    """Seconds of the spans inside."""


def short(module: str, function: str) -> str:
    """Without our package, and without what ``simd.compiled`` appends."""
    return f"{module.removeprefix('tinynn.backends.cpu.')}.{function.partition('_simd')[0]}"


class Stopwatch:
    """Listens to Numba: seconds by function, each without what is compiled within it.

    Numba holds a lock while it compiles or reads functions, and tells of every pass of its compiler. What is in no pass
    (the making of machine code, at the end) belongs to the last function that had one; where none had, it is reading.
    """

    LOCK, PASS = "numba:compiler_lock", "numba:run_pass"

    def __init__(self) -> None:
        self.functions: dict[str, float] = {}
        self.entries: dict[str, float] = {}
        """By function that somebody called: with all that was compiled for it."""
        self.open: list[Span] = []

    def notify(self, event: Any) -> None:
        now = time.perf_counter()
        if event.is_start:
            lock = event.kind == self.LOCK
            function = None if lock else short(event.data["module"], event.data["qualname"])
            self.open.append(Span(lock, function, now))
            return
        span = self.open.pop()
        seconds, label = now - span.start, span.function or FROM_DISK
        self.functions[label] = self.functions.get(label, 0.0) + seconds - span.within
        if not self.open:
            self.entries[label] = self.entries.get(label, 0.0) + seconds
        else:
            outer = self.open[-1]
            outer.within += seconds
            if outer.lock:
                outer.function = span.function or outer.function


def measured(name: str) -> dict[str, Any]:
    """Seconds of each stage, and of the functions that Numba compiled or read."""
    import tinynn.backends.cpu  # noqa: F401  (before Numba, whose threads it prepares)

    imported = time.perf_counter()
    from numba.core import event

    from benchmarks.cases import find

    stopwatch = Stopwatch()
    event.Listener.register(Stopwatch)  # its base class; but Numba has to be imported later
    for kind in (stopwatch.LOCK, stopwatch.PASS):
        event.register(kind, stopwatch)
    case = find(name)
    x, y = (a[: case.batch_size] for a in case.data())
    begin = time.perf_counter()
    model = case.ours()
    built = time.perf_counter()
    model.fit(x, y, batch_size=case.batch_size, epochs=1, verbose=0)
    end, cpu = time.perf_counter(), time.process_time()
    return {
        "imports": imported - START,
        "build": built - begin,
        "step": end - built,
        "total": imported - START + end - begin,
        "compile": sum(seconds for name, seconds in stopwatch.functions.items() if name != FROM_DISK),
        "read": stopwatch.functions.get(FROM_DISK, 0.0),
        "cpu": cpu,
        "entries": stopwatch.entries,
        "functions": stopwatch.functions,
    }


if __name__ == "__main__":
    result = measured(sys.argv[1])

    from benchmarks.worker import converse  # imports NumPy, which is what is timed above

    converse(lambda answer: answer(result))
