"""Matrix products of the cpu backend beside NumPy's (OpenBLAS): GFLOP/s and the ratio, interleaved in one run.

    python benchmarks/gemm.py [--threads 1 2] [--rounds 9] [--only 1024]

Times on a shared machine drift, so the two take turns, and the ratio (NumPy's time / ours, above 1: ours is faster)
is of the best turn of each: the work of others only ever adds. Between turns both pause, so that the idle threads
of one are asleep, not spinning, when the other works.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # OpenBLAS threads go to sleep soon after their work

import numpy as np
import threadpoolctl

from tinynn.backends.cpu import simd, threads
from tinynn.backends.cpu.gemm import gemm

# (M, N, K, transpose_a, transpose_b), and where it occurs
SHAPES = [
    (100, 10, 784, False, False, "784-10, batch 100: forward"),
    (784, 10, 100, True, False, "784-10: kernel gradient"),
    (100, 1, 784, False, False, "784-1: forward"),
    (1, 512, 784, False, False, "784-512, batch 1"),
    (128, 512, 784, False, False, "784-512, batch 128: forward"),
    (128, 512, 512, False, False, "512-512: forward"),
    (128, 512, 512, False, True, "512-512: input gradient"),
    (784, 512, 128, True, False, "784-512: kernel gradient"),
    (512, 512, 128, True, False, "512-512: kernel gradient"),
    (128, 10, 512, False, False, "512-10: forward"),
    (64, 1024, 256, False, False, "LSTM 256, one step"),
    (57600, 32, 25, False, False, "5x5 convolution of 1 channel"),
    (6400, 64, 800, False, False, "5x5 convolution of 32 channels"),
    (131072, 32, 288, False, False, "3x3 convolution of 32 channels"),
    (288, 32, 131072, True, False, "the same: kernel gradient"),
    (8192, 128, 1152, False, False, "3x3 convolution of 128 channels"),
    (1024, 1024, 1024, False, False, ""),
    (2048, 2048, 2048, False, False, ""),
]


def processor() -> str:
    """Name of the processor, as the system gives it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def random_matrix(rng, rows, columns):
    """Values from a normal distribution at a 64-byte boundary, as the library's own arrays are."""
    memory = np.empty(rows * columns + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    matrix = memory[start : start + rows * columns].reshape(rows, columns)
    matrix[...] = rng.standard_normal((rows, columns), dtype=np.float32)
    return matrix


def seconds_per_call(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def compare(shape, rounds):
    """(our seconds, NumPy's seconds, largest difference relative to the largest value), best of the rounds."""
    m, n, k, transpose_a, transpose_b = shape
    rng = np.random.default_rng(0)
    a = random_matrix(rng, *((k, m) if transpose_a else (m, k)))
    b = random_matrix(rng, *((n, k) if transpose_b else (k, n)))
    c, theirs = random_matrix(rng, m, n), random_matrix(rng, m, n)
    op_a, op_b = a.T if transpose_a else a, b.T if transpose_b else b
    calls = (lambda: gemm(c, a, b, transpose_a, transpose_b), lambda: np.dot(op_a, op_b, out=theirs))
    times = ([], [])
    repeats = 1
    for turn in range(rounds + 1):
        for call, results in zip(calls, times, strict=True):
            time.sleep(0.02)
            call()
            results.append(seconds_per_call(call, repeats))
        if turn == 0:  # a rehearsal: how many calls make a turn of about 10 ms
            repeats = max(1, int(0.01 / times[0].pop()))
            times[1].pop()
    difference = np.abs(c - theirs).max() / np.abs(theirs).max()
    return min(times[0]), min(times[1]), difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, threads.get_num_threads()}))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="part of a shape, as printed: 1024, or 100x10")
    arguments = parser.parse_args()

    print(f"{processor()}, {threads.available_cores()} cores, {simd.WIDTH}-bit vectors, NumPy {np.__version__}")
    start = time.perf_counter()
    for size in (1, 100):
        gemm(np.empty((size, size), np.float32), *np.ones((2, size, size), np.float32))
    print(f"first products (compiled, or read from disk): {time.perf_counter() - start:.2f} s")
    for count in arguments.threads:
        threads.set_num_threads(count)
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            print(f"\n{count} thread(s) each")
            print(f"{'M x N x K':>20} T   {'ours':>9} {'GF':>5}   {'NumPy':>9} {'GF':>5}  ratio")
            for *shape, where in SHAPES:
                m, n, k, transpose_a, transpose_b = shape
                name = f"{m}x{n}x{k}"
                if arguments.only not in name:
                    continue
                ours, theirs, _ = compare(shape, arguments.rounds)
                flops = 2e-9 * m * n * k
                print(
                    f"{name:>20} {'a' * transpose_a + 'b' * transpose_b:3} {ours * 1e6:8.1f}u {flops / ours:5.0f}   "
                    f"{theirs * 1e6:8.1f}u {flops / theirs:5.0f}  {theirs / ours:5.2f}  {where}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
