// Tensor cores and asynchronous copies, as functions. tests/cuda/emulator.h has the same ones for the CPU.

#ifndef EMULATED

#if __CUDA_ARCH__ >= 800

// A float rounded to TF32: 8 bits of exponent, 10 behind the point.
__device__ __forceinline__ unsigned to_tf32(float x) {
    unsigned result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
    return result;
}

// d (16, 8) += a (16, 8) b (8, 8), spread over the 32 lanes of a warp. With g = lane / 4 and t = lane % 4 a lane holds
//   a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)    b: (t, g), (t + 4, g)
//   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// Source: PTX ISA, "Matrix fragments for mma.m16n8k8".
__device__ __forceinline__ void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// BYTES (4, 8 or 16) from global to shared memory, which have arrived only after a wait; zeros where `valid` is false.
// CACHED: by way of the L1 cache, as fewer than 16 bytes always come.
template <int BYTES, bool CACHED = false> __device__ __forceinline__ void copy_async(
    void* to, const void* from, bool valid) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    int size = valid ? BYTES : 0;
    if constexpr (BYTES == 16 && !CACHED)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(size) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(BYTES), "r"(size)
                     : "memory");
}

// Close a group of copies.
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most PENDING of the groups that this thread closed are under way. A barrier makes them seen by others.
template <int PENDING> __device__ __forceinline__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#else  // Volta and Turing: no TF32 (cuda.tensor_cores() is False, nobody comes here), and copies that have arrived at once

__device__ __forceinline__ unsigned to_tf32(float x) { return __float_as_uint(x); }
__device__ __forceinline__ void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) { __trap(); }
template <int BYTES> struct alignas(BYTES) Bytes { unsigned words[BYTES / 4]; };
template <int BYTES, bool CACHED = false> __device__ __forceinline__ void copy_async(
    void* to, const void* from, bool valid) {
    *(Bytes<BYTES>*)to = valid ? *(const Bytes<BYTES>*)from : Bytes<BYTES>{};
}
__device__ __forceinline__ void copies_commit() {}
template <int PENDING> __device__ __forceinline__ void copies_wait() {}

#endif
#endif
