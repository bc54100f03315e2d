"""The CUDA sources: compiled for cards by NVIDIA's compiler, and the emulator that runs them without one."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

from tests.cuda import emulator, nvrtc, standin
from tests.device import DeviceArray
from tinynn.backends import gpu
from tinynn.backends.gpu.cuda import FOLDER, Source


def sources() -> list[Source]:
    """Every Source of the gpu backend."""
    found: dict[int, Source] = {}
    for module in pkgutil.iter_modules(gpu.__path__):
        row = importlib.import_module(f"{gpu.__name__}.{module.name}")
        found |= {id(value): value for value in vars(row).values() if isinstance(value, Source)}
    return list(found.values())


SOURCES = sources()


def test_every_cuda_file_belongs_to_a_source() -> None:
    used = {f"{source.name}.cu" for source in SOURCES} | {f"{h}.cuh" for s in SOURCES for h in s.headers}
    assert used | {"common.cuh"} == {file.name for file in FOLDER.glob("*.cu*")}


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("real", ["f", "d"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: "-".join([s.name, *s.options]))
def test_a_source_compiles_for_cards(source: Source, real: str, architecture: str) -> None:
    if nvrtc.library() is None:
        pytest.skip("no libnvrtc: install the wheel nvidia-cuda-nvrtc")
    options = (*source.compiler_options(real), f"-arch={architecture}")
    good, log, code = nvrtc.compile(source.text(), f"{source.name}.cu", options)
    assert good, log
    assert "warning" not in log, log
    assert len(code) > 1000


@pytest.mark.parametrize("source", [s for s in SOURCES if "tensorcores" in s.headers], ids=lambda s: s.name)
def test_a_source_for_tensor_cores_compiles_for_cards_without(source: Source) -> None:
    """Their exact kernels run there: ``cuda.tensor_cores()`` decides."""
    if nvrtc.library() is None:
        pytest.skip("no libnvrtc: install the wheel nvidia-cuda-nvrtc")
    good, log, _ = nvrtc.compile(source.text(), f"{source.name}.cu", (*source.compiler_options("f"), "-arch=sm_75"))
    assert good, log


# -- the emulator ----------------------------------------------------------------------------------------------------

needs_compiler = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler: kernels cannot be emulated")
COMMON = (FOLDER / "common.cuh").read_text()


def run(body: str, *arrays: np.ndarray, blocks: int = 1, threads: int = 64, shared: int = 0) -> list[np.ndarray]:
    """Run a kernel of this body over float arrays a, b, c, ... and give them back."""
    parameters = ", ".join(f"float* {name}" for name, _ in zip("abcd", arrays, strict=False))
    code = f'{COMMON}\nextern "C" __global__ void kernel({parameters}) {{ {body} }}'
    kernel = emulator.Module(code=code, options=("-std=c++17", "-Dreal=float")).get_function("kernel")
    on_device = [standin.StandIn.asarray(array, np.float32) for array in arrays]
    kernel((blocks,), (threads,), tuple(on_device), shared_mem=shared)
    return [array.get() for array in on_device]


X = np.arange(64, dtype=np.float32)


@needs_compiler
def test_threads_of_a_block_exchange_values() -> None:
    (a,) = run("a[threadIdx.x] = block_reduce(a[threadIdx.x]);", X)
    np.testing.assert_array_equal(a, np.full(64, X.sum()))
    (a,) = run("a[threadIdx.x] = __shfl_down_sync(ALL_LANES, a[threadIdx.x], 3);", X)
    lanes = np.arange(32)
    np.testing.assert_array_equal(a[:32], np.where(lanes + 3 < 32, lanes + 3, lanes))
    reverse = "float* m = dynamic_shared_memory<float>(); m[threadIdx.x] = a[threadIdx.x];"
    (a,) = run(f"{reverse} __syncthreads(); a[threadIdx.x] = m[63 - threadIdx.x];", X, shared=256)
    np.testing.assert_array_equal(a, X[::-1])


@needs_compiler
def test_a_missing_barrier_shows() -> None:
    racy = """
    float* m = dynamic_shared_memory<float>();
    m[threadIdx.x] = a[threadIdx.x];
    a[threadIdx.x] = m[63 - threadIdx.x];"""
    results = [run(racy, X, shared=256)[0] for _ in range(6)]
    assert any((result != X[::-1]).any() for result in results)


@needs_compiler
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if (threadIdx.x < 7) __syncthreads();", "not reached by every thread"),
        ("if (threadIdx.x == 3) return; a[threadIdx.x] = warp_reduce(a[threadIdx.x]);", "all of its 32 threads"),
        ("a[threadIdx.x + 1] = 1;", "wrote outside of its argument 0"),
        ("a[(int)threadIdx.x - 1] = 1;", "wrote outside of its argument 0"),
        ("__shared__ float m[8]; m[threadIdx.x] = 1; a[0] = m[0];", "index outside of an array"),
        ("float4 v = *(float4*)(a + 1); a[0] = v.x;", "misaligned access"),
    ],
)
def test_what_a_card_would_not_report_is_an_error(body: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        run(body, X)


@needs_compiler
@pytest.mark.parametrize(
    "body", ["a[threadIdx.x] = b[64 + threadIdx.x];", "__shared__ float m[64]; a[threadIdx.x] = m[threadIdx.x];"]
)
def test_what_nobody_wrote_reads_as_nan(body: str) -> None:
    assert np.isnan(run(body, X, X)[0]).all()


@needs_compiler
def test_tensor_cores_multiply_in_tf32() -> None:

    body = """
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned left[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                        to_tf32(a[(g + 8) * 8 + t + 4])};
    unsigned right[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
    float d[4] = {0, 0, 0, 0};
    mma_tf32(d, left, right);
    c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1];
    c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3];"""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 8)).astype(np.float32), rng.standard_normal((8, 8)).astype(np.float32)
    tensorcores = (FOLDER / "tensorcores.cuh").read_text()
    kernel_of = 'extern "C" __global__ void kernel(float* a, float* b, float* c)'
    code = f"{COMMON}\n{tensorcores}\n{kernel_of} {{ {body} }}"
    kernel = emulator.Module(code=code, options=("-std=c++17", "-Dreal=float")).get_function("kernel")
    arrays = [standin.StandIn.asarray(array) for array in (a, b, np.zeros((16, 8), np.float32))]
    kernel((1,), (32,), tuple(arrays))
    got, want = arrays[2].get(), a.astype(np.float64) @ b
    error = np.abs(got - want).max() / np.abs(want).max()
    assert 1e-6 < error < 1e-3


@needs_compiler
def test_asynchronous_copies_arrive_at_the_wait() -> None:
    copy = """
    float* m = dynamic_shared_memory<float>();
    copy_async<4>(m + threadIdx.x, a + threadIdx.x, threadIdx.x < 60);
    copies_commit();"""
    late = f"""{copy}
    float early = m[threadIdx.x];
    copies_wait<0>();
    a[threadIdx.x] = m[threadIdx.x];
    b[threadIdx.x] = early;"""
    early = []
    for _ in range(2):  # they may arrive at once, or as late as the wait
        a, b = run(late, X, X, shared=256)
        np.testing.assert_array_equal(a, np.where(np.arange(64) < 60, X, 0))
        early.append(np.isnan(b).all())
    assert any(early)
    with pytest.raises(RuntimeError, match="before it waited"):
        run(copy, X, shared=256)


@needs_compiler
def test_a_copy_that_begins_too_early_shows() -> None:
    hasty = """
    float* m = dynamic_shared_memory<float>();
    m[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    copy_async<4>(m + threadIdx.x, b + threadIdx.x, true);  // others have not read yet
    copies_commit();
    float read = m[63 - threadIdx.x];
    __syncthreads();
    copies_wait<0>();
    a[threadIdx.x] = read;"""
    results = [run(hasty, X, -X - 1, shared=256)[0] for _ in range(2)]
    assert any((result != X[::-1]).any() for result in results)


@needs_compiler
@pytest.mark.parametrize(
    "wrong",
    [
        (np.float32(1),),
        (1.0,),
        (DeviceArray(np.zeros(4)),),
        (DeviceArray(np.zeros((8, 8), np.float32)[:, ::2]),),
        (np.zeros(4, np.float32),),
        (),
    ],
    ids=["scalar", "float", "float64", "strided", "on-the-host", "missing"],
)
def test_a_launch_with_wrong_arguments_is_refused(wrong: Any) -> None:
    code = f'{COMMON}\nextern "C" __global__ void kernel(float* a) {{ a[0] = 1; }}'
    kernel = emulator.Module(code=code, options=("-std=c++17", "-Dreal=float")).get_function("kernel")
    with pytest.raises(TypeError):
        kernel((1,), (32,), wrong)
