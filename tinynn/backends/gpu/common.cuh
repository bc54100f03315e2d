// What every CUDA source of this folder begins with. `real` is float or double: each source is compiled for both.
// Sums run in a fixed order (no atomics), so that a step gives the same bytes every time.

using Size = long long;  // of arrays: more than 2^31 elements fit a card

// for each i of 0..n-1 that is this thread's: the grid covers n in strides
#define EACH(i, n) \
    for (Size i = (Size)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (Size)gridDim.x * blockDim.x)

constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int WARP_SIZE = 32;

#ifndef EMULATED
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

// The shared memory whose size the launch says.
template <class T> __device__ __forceinline__ T* dynamic_shared_memory() {
    extern __shared__ __align__(16) unsigned char memory[];
    return reinterpret_cast<T*>(memory);
}
#endif

template <class A, class B> __device__ __forceinline__ constexpr auto ceil_div(A a, B b) { return (a + b - 1) / b; }

__device__ __forceinline__ int lane_index() { return threadIdx.x % WARP_SIZE; }
__device__ __forceinline__ int warp_index() { return threadIdx.x / WARP_SIZE; }

struct Add { template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; } };

// The larger one; NaN where one is.
struct Larger {
    template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a > b || a != a ? a : b; }
};

// The sum (or what `combine` says) over the warp, in every lane. All 32 lanes call it.
template <class T, class Combine = Add> __device__ __forceinline__ T warp_reduce(T value, Combine combine = Combine()) {
    for (int step = WARP_SIZE / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
}

// The same over a block of one axis, whose size is a multiple of 32; in every thread. All threads call it.
template <class T, class Combine = Add> __device__ __forceinline__ T block_reduce(T value, Combine combine = Combine()) {
    __shared__ T of_warp[WARP_SIZE];
    value = warp_reduce(value, combine);
    __syncthreads();  // an earlier call may still be read
    if (lane_index() == 0) of_warp[warp_index()] = value;
    __syncthreads();
    value = of_warp[0];
    for (int i = 1; i < (int)blockDim.x / WARP_SIZE; i++) value = combine(value, of_warp[i]);
    return value;
}
