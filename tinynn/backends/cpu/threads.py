"""The one place that owns threads: how many this library uses, and through which of Numba's threading layers.

Kernels never ask Numba for the number of threads (a question inside a compiled region would defeat Numba's
cache); they receive `workers()` as an argument. The number changes speed only, never a byte of a result:
work is cut by shape (CONTRIBUTING.md, "Same bytes").

With the `omp` layer of GNU a process that has run a parallel kernel must not `fork` and run another one in the
child: a forked child therefore works with one thread. Children started with `spawn` or `forkserver` have all of them.
"""

import contextlib
import functools
import os
import sys
import threading


def available_cores() -> int:
    """Cores that this process may run on: its affinity mask where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _default_count() -> int:
    text = os.environ.get("TINYNN_NUM_THREADS")
    if text is None:
        return available_cores()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"TINYNN_NUM_THREADS must be a positive whole number, got {text!r}")
    return int(text)


def _prepare_numba(wanted: int) -> None:
    """Give Numba's pool room for `wanted` threads and prefer its OpenMP layer; a user's own settings stand.

    Numba reads the size of its pool once, from the environment, when it is imported: so this module comes before
    any other that imports Numba. At least four threads, so that results with 1, 2 and 3 threads can be compared on
    a small machine; threads that no kernel asks for are never started. OpenMP first, because Numba's fallback,
    workqueue, is slower and refuses two Python threads at once.
    """
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")
    # GNU's OpenMP lets waiting threads spin. Where anything else uses a core, that costs time slices; where threads
    # sleep at once, every step wakes them several times. A step of Dense 784-512-512-10 on two cores took, quiet and
    # beside one busy process: 3.6 ms with threads that sleep at once; 2.9 and 5.5 with 1,000 turns of spinning; 2.6 and
    # 9.5 with 10,000; 2.6 and 50 to 80 with the library's own default, which is also PyTorch's.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(max(4, available_cores(), wanted)))
        return
    from numba.core import config  # the user was first: the pool is as it is, the layer may still be open

    config.reload_config()


_count = _default_count()
_prepare_numba(_count)

import numba  # noqa: E402  (after its pool has been configured)
from numba.np.ufunc import parallel  # noqa: E402

_limit: int = parallel.NUM_THREADS
_count = min(_count, _limit)
_this_thread = threading.local()
_one_at_a_time = threading.Lock()
_no_lock = contextlib.nullcontext()


def get_num_threads() -> int:
    """Number of threads that kernels use."""
    return _count


def set_num_threads(n: int) -> None:
    """Let kernels use `n` threads, in every Python thread of this process; results do not change."""
    global _count
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _limit:
        raise ValueError(
            f"set_num_threads: expected a whole number from 1 to {_limit}, got {n!r}; "
            "for more, set the environment variable NUMBA_NUM_THREADS before Python starts"
        )
    _count = n


def worth_it(size: int, least: int) -> bool:
    """Whether a kernel on so many numbers shall be called in its parallel form."""
    return size >= least and _count > 1


def workers() -> int:
    """Number of threads for the parallel kernel that is called next from this Python thread.

    Numba keeps its own number per Python thread, so every thread is told once per change.
    """
    if getattr(_this_thread, "told", 0) != _count:
        numba.set_num_threads(_count)
        _this_thread.told = _count
    return _this_thread.told


@functools.cache
def parallel_region() -> contextlib.AbstractContextManager:
    """Context in which parallel kernels are called: a lock where the threading layer does not admit two callers."""
    workers()  # starts the layer, so that it has a name
    return _one_at_a_time if numba.threading_layer() == "workqueue" else _no_lock


def _in_forked_child() -> None:
    """One thread from here on: GNU's OpenMP kills a forked child that opens a parallel region when its parent has."""
    global _count, _limit
    if parallel_region.cache_info().currsize:
        _count = _limit = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
