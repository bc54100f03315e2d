"""Ctrl-C waits until a step is complete."""

from __future__ import annotations

import signal
import threading
from typing import Any


class InterruptsWait:
    """``with InterruptsWait():`` only notes SIGINT inside, and delivers it at the end to the handler of before.

    Only Python's main thread receives signals: in any other there is nothing to do, nor where the handler is not
    Python's and so could not be put back. It costs some 7 us.
    """

    def __enter__(self) -> None:
        self.noted = False
        self.before: Any = None
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None:
            self.before = signal.signal(signal.SIGINT, self.note)

    def note(self, number: int, frame: Any) -> None:
        self.noted = True

    def __exit__(self, *error: Any) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            if self.noted:
                signal.raise_signal(signal.SIGINT)
