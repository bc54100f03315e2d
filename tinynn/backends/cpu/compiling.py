"""Tells the user when kernels are compiled, which happens once per machine: afterwards Numba finds them on disk."""

from __future__ import annotations

import sys
from typing import Any

from numba.core import event


class Announcer(event.Listener):
    """Prints one line when the first kernel of this process has to be compiled."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said and of_ours(event):
            self.said = True
            print(
                "tinynn: compiling new kernels for this processor (some seconds, once: they are kept on disk)",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: event.Event) -> None:
        pass


def of_ours(event: Any) -> bool:
    """Whether a compile event is about a function of this library, not the user's own."""
    dispatcher = (event.data or {}).get("dispatcher")
    function = getattr(dispatcher, "py_func", None)
    return getattr(function, "__module__", "").startswith("tinynn.")


event.register("numba:compile", Announcer())
