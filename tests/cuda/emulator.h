// CUDA on the CPU, for tests: enough of the language to run this library's kernels, thread by thread, and to catch what
// a card would not report: indices outside of shared arrays, misaligned vector loads, barriers that not every thread
// reaches, shared memory read before it is written, and (by running threads and blocks in changing order) races.
//
// A block's threads are fibers of one OS thread. A thread runs until it waits at a barrier; a warp's exchange of values
// is two barriers of its warp. A kernel without barriers costs two switches per thread.

#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define EMULATED 1
#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static __attribute__((section("shared_memory")))
#define __align__(n) alignas(n)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// -- a launch ---------------------------------------------------------------------------------------------------------

extern char __start_shared_memory[] __attribute__((weak));
extern char __stop_shared_memory[] __attribute__((weak));

namespace emulator {

constexpr int WARP = 32;
constexpr size_t STACK = 128 << 10;
enum State { READY, AT_BLOCK, AT_WARP, DONE };

using Copy = std::pair<void*, std::pair<const void*, size_t>>;  // to, from (or zeros), bytes

struct Fiber {
    State state = DONE;
    uint3 thread{};
    int number = 0;
    ucontext_t start{};
    jmp_buf place;
    char* stack = nullptr;
    bool begun = false;
    std::vector<Copy> copies;     // asynchronous, not yet waited for
    std::vector<size_t> groups;   // how many copies each commit closed
};

struct Kernel { virtual void run() = 0; virtual ~Kernel() = default; };

inline std::vector<Fiber*> fibers;
inline Fiber* now = nullptr;
inline jmp_buf scheduler;
inline Kernel* kernel = nullptr;
inline std::string error;
inline uint64_t slots[2048][16];
inline std::vector<char> dynamic_shared;
inline unsigned long launches = 0;

inline void fail(const std::string& what) {
    if (error.empty()) error = what;
}

[[noreturn]] inline void leave(State state) {
    now->state = state;
    _longjmp(scheduler, 1);
}

inline void wait_at(State state) {
    if (_setjmp(now->place) == 0) leave(state);
}

inline void trampoline() {
    for (;;) {
        kernel->run();
        if (!now->copies.empty()) fail("a thread ended before it waited for its asynchronous copies");
        now->copies.clear(); now->groups.clear();
        wait_at(DONE);  // the next thread that gets this fiber goes on from here
    }
}

inline void resume(Fiber* fiber) {
    now = fiber;
    fiber->state = READY;
    if (_setjmp(scheduler) == 0) {
        if (fiber->begun) _longjmp(fiber->place, 1);
        fiber->begun = true;
        fiber->stack = new char[STACK];
        getcontext(&fiber->start);
        fiber->start.uc_stack.ss_sp = fiber->stack;
        fiber->start.uc_stack.ss_size = STACK;
        fiber->start.uc_link = nullptr;
        makecontext(&fiber->start, trampoline, 0);
        setcontext(&fiber->start);
    }
}

}  // namespace emulator

inline uint3 blockIdx, threadIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulator {

inline void go(Fiber* fiber) {
    threadIdx = fiber->thread;
    resume(fiber);
}

// Every n-th element, beginning anywhere: an order of 0..n-1 that differs from launch to launch.
inline std::vector<int> order(int n, unsigned long seed) {
    std::vector<int> numbers(n);
    for (int i = 0; i < n; i++) numbers[i] = i;
    if (seed % 3 == 1) std::reverse(numbers.begin(), numbers.end());
    if (seed % 3 == 2) {
        uint64_t x = seed * 0x9E3779B97F4A7C15ull + 1;
        for (int i = n - 1; i > 0; i--) {
            x ^= x << 13; x ^= x >> 7; x ^= x << 17;
            std::swap(numbers[i], numbers[x % (i + 1)]);
        }
    }
    return numbers;
}

inline void run_block(int threads) {
    if (__start_shared_memory) memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
    std::fill(dynamic_shared.begin(), dynamic_shared.end(), char(0xFF));  // NaN, and no index
    while ((int)fibers.size() < threads) fibers.push_back(new Fiber);
    std::vector<int> turn = order(threads, launches);
    std::vector<Fiber*> of(threads, nullptr);  // which fiber has which thread
    std::vector<Fiber*> idle(fibers.begin(), fibers.begin() + threads);
    for (int k : turn) {  // the first stretch of each thread; a fiber whose thread has ended takes the next one
        Fiber* fiber = idle.back();
        idle.pop_back();
        fiber->number = k;
        fiber->thread = {k % blockDim.x, k / blockDim.x % blockDim.y, k / (blockDim.x * blockDim.y)};
        go(fiber);
        if (fiber->state == DONE) idle.push_back(fiber); else of[k] = fiber;
    }
    for (;;) {
        int waiting = 0, ready = 0;
        for (int k = 0; k < threads; k++) waiting += of[k] && of[k]->state == AT_BLOCK;
        int alive = 0;
        for (int k = 0; k < threads; k++) alive += of[k] && of[k]->state != DONE;
        if (!alive) return;
        for (int first = 0; first < threads; first += WARP) {
            int last = std::min(first + WARP, threads), here = 0;
            for (int k = first; k < last; k++) here += of[k] && of[k]->state == AT_WARP;
            if (here == last - first) for (int k = first; k < last; k++) of[k]->state = READY;
        }
        if (waiting == threads) for (int k = 0; k < threads; k++) of[k]->state = READY;
        for (int k : turn) if (of[k] && of[k]->state == READY) { ready++; go(of[k]); }
        if (!ready) {
            fail(waiting ? "__syncthreads() was not reached by every thread of the block"
                         : "an exchange within a warp was not reached by all of its 32 threads");
            for (int k = 0; k < threads; k++) if (of[k]) { of[k]->begun = false; of[k]->state = DONE; of[k]->copies.clear(); of[k]->groups.clear(); }  // their stacks are lost
            return;
        }
    }
}

template <class... A> struct Call : Kernel {
    void (*function)(A...);
    std::tuple<std::decay_t<A>...> arguments;
    Call(void (*f)(A...), std::tuple<std::decay_t<A>...> a) : function(f), arguments(a) {}
    void run() override { std::apply(function, arguments); }
};

template <class... A, size_t... I>
Call<A...> make_call(void (*f)(A...), void** data, std::index_sequence<I...>) {
    return Call<A...>(f, std::tuple<std::decay_t<A>...>(*(std::decay_t<A>*)data[I]...));
}

// One letter per type, as NumPy's: what a launch is given is checked against what the kernel declares.
template <class T> constexpr char letter() {
    using U = std::remove_cv_t<T>;
    if (std::is_same_v<U, float>) return 'f';
    if (std::is_same_v<U, double>) return 'd';
    if (std::is_same_v<U, bool>) return '?';
    if (std::is_same_v<U, unsigned char>) return 'B';
    if (std::is_same_v<U, int>) return 'i';
    if (std::is_same_v<U, unsigned>) return 'I';
    if (std::is_same_v<U, long long> || std::is_same_v<U, long>) return 'q';
    if (std::is_same_v<U, unsigned long long> || std::is_same_v<U, unsigned long>) return 'Q';
    return 'v';
}

template <class A> void describe(std::string& text) {
    if constexpr (std::is_pointer_v<A>) {
        text += '*';
        if (std::is_const_v<std::remove_pointer_t<A>>) text += 'c';
        text += letter<std::remove_pointer_t<A>>();
    } else {
        text += letter<A>();
    }
    text += ' ';
}

template <class... A> const char* signature(void (*)(A...)) {
    static std::string text;
    text.clear();
    (describe<A>(text), ...);
    return text.c_str();
}

template <class... A> const char* launch(void (*f)(A...), const unsigned* shape, size_t shared, void** data) {
    error.clear();
    launches++;
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    auto call = make_call(f, data, std::index_sequence_for<A...>());
    kernel = &call;
    dynamic_shared.assign(shared + 16, 0);
    int threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    for (int b : order(blocks, launches / 3)) {
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / (gridDim.x * gridDim.y)};
        run_block(threads);
        if (!error.empty()) break;
    }
    return error.c_str();
}

template <class T> T exchange(T value, int lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    int first = now->number / WARP * WARP;
    memcpy(slots[now->number], &value, sizeof(T));
    wait_at(AT_WARP);
    T result;
    memcpy(&result, slots[first + (lane & 31)], sizeof(T));
    wait_at(AT_WARP);
    return result;
}

}  // namespace emulator

// -- what kernels call ------------------------------------------------------------------------------------------------

inline void __syncthreads() { emulator::wait_at(emulator::AT_BLOCK); }
inline void __syncwarp(unsigned = ~0u) { emulator::wait_at(emulator::AT_WARP); }
inline int lane_of_thread() { return emulator::now->number % 32; }
template <class T> T __shfl_sync(unsigned, T v, int lane, int = 32) { return emulator::exchange(v, lane); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask, int = 32) { return emulator::exchange(v, lane_of_thread() ^ mask); }
template <class T> T __shfl_down_sync(unsigned, T v, unsigned by, int = 32) {
    int to = lane_of_thread() + by;
    return emulator::exchange(v, to < 32 ? to : lane_of_thread());
}
template <class T> T __shfl_up_sync(unsigned, T v, unsigned by, int = 32) {
    int to = lane_of_thread() - (int)by;
    return emulator::exchange(v, to >= 0 ? to : lane_of_thread());
}
inline unsigned __ballot_sync(unsigned, bool p) {
    using namespace emulator;
    slots[now->number][0] = p;
    wait_at(AT_WARP);
    unsigned bits = 0;
    for (int lane = 0; lane < WARP; lane++) bits |= (unsigned)slots[now->number / WARP * WARP + lane][0] << lane;
    wait_at(AT_WARP);
    return bits;
}
inline unsigned __match_any_sync(unsigned, int value) {
    using namespace emulator;
    slots[now->number][0] = (unsigned)value;
    wait_at(AT_WARP);
    unsigned bits = 0;
    for (int lane = 0; lane < WARP; lane++)
        bits |= (unsigned)(slots[now->number / WARP * WARP + lane][0] == (unsigned)value) << lane;
    wait_at(AT_WARP);
    return bits;
}
inline bool __any_sync(unsigned m, bool p) { return __ballot_sync(m, p) != 0; }
inline bool __all_sync(unsigned m, bool p) { return __ballot_sync(m, p) == ~0u; }
template <class T> T __ldg(const T* p) { return *p; }
inline float __int_as_float(int x) { float y; memcpy(&y, &x, 4); return y; }
inline int __float_as_int(float x) { int y; memcpy(&y, &x, 4); return y; }
inline float __uint_as_float(unsigned x) { float y; memcpy(&y, &x, 4); return y; }
inline unsigned __float_as_uint(float x) { unsigned y; memcpy(&y, &x, 4); return y; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline void sincospi(double x, double* sine, double* cosine) { *sine = std::sin(M_PI * x); *cosine = std::cos(M_PI * x); }
inline void sincospi(float x, float* sine, float* cosine) { *sine = std::sin(M_PI * x); *cosine = std::cos(M_PI * x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
using std::abs; using std::ceil; using std::copysign; using std::erf; using std::exp; using std::exp2; using std::expm1;
using std::fabs; using std::floor; using std::fma; using std::fmax; using std::fmin; using std::isfinite; using std::isinf;
using std::isnan; using std::log; using std::log1p; using std::pow; using std::rint; using std::round; using std::sqrt;
using std::tanh; using std::trunc; using std::cos; using std::sin;

// -- tensor cores and asynchronous copies: what tensorcores.cuh gives on a card -----------------------------------------

// Rounded to the nearest TF32 number (10 bits behind the point), ties away from zero.
inline unsigned to_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & ~0x1FFFu;
}

// d (16, 8) += a (16, 8) b (8, 8), spread over the warp as PTX's mma.m16n8k8 has it.
inline void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) {
    using namespace emulator;
    int first = now->number / WARP * WARP, lane = now->number % WARP;
    unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    memcpy(slots[now->number], mine, sizeof mine);
    wait_at(AT_WARP);
    auto value = [&](int l, int i) { unsigned all[6]; memcpy(all, slots[first + l], sizeof all); return __uint_as_float(all[i] & ~0x1FFFu); };
    int group = lane / 4, pair = lane % 4;
    float sums[4];
    for (int i = 0; i < 4; i++) {
        int row = group + 8 * (i / 2), column = 2 * pair + i % 2;
        float sum = d[i];
        for (int k = 0; k < 8; k++) {
            float left = value(row % 8 * 4 + k % 4, row / 8 + 2 * (k / 4));
            sum += left * value(column * 4 + k % 4, 4 + k / 4);
        }
        sums[i] = sum;
    }
    wait_at(AT_WARP);
    for (int i = 0; i < 4; i++) d[i] = sums[i];
}

namespace emulator {
inline void arrive(const Copy& copy) {
    auto [to, source] = copy;
    if (!to) return;  // it has already
    if (source.first) memcpy(to, source.first, source.second); else memset(to, 0, source.second);
}
}  // namespace emulator

// 16 bytes (or 4) from global to shared memory: in every second launch they arrive at the wait, else at once.
// Zeros where `valid` is false.
template <int BYTES, bool CACHED = false> void copy_async(void* to, const void* from, bool valid) {
    if ((uintptr_t)to % BYTES || (uintptr_t)from % BYTES) emulator::fail("misaligned asynchronous copy");
    emulator::now->copies.push_back({to, {valid ? from : nullptr, BYTES}});
    if (emulator::launches % 2 == 0) {  // as early as it may arrive, so that what is still read there is lost
        emulator::arrive(emulator::now->copies.back());
        emulator::now->copies.back().first = nullptr;
    }
}
inline void copies_commit() {
    size_t closed = 0;
    for (size_t n : emulator::now->groups) closed += n;
    emulator::now->groups.push_back(emulator::now->copies.size() - closed);
}
// Wait until at most PENDING of the committed groups are under way.
template <int PENDING> void copies_wait() {
    auto& fiber = *emulator::now;
    while ((int)fiber.groups.size() > PENDING) {
        for (size_t i = 0; i < fiber.groups.front(); i++) {
            emulator::arrive(fiber.copies.front());
            fiber.copies.erase(fiber.copies.begin());
        }
        fiber.groups.erase(fiber.groups.begin());
    }
}

template <class T> T* dynamic_shared_memory() {
    return (T*)(((uintptr_t)emulator::dynamic_shared.data() + 15) / 16 * 16);
}

// -- what the compiler's checks report (-fsanitize=bounds,alignment) ----------------------------------------------------

namespace emulator {
struct Location { const char* file; unsigned line, column; };
inline void found(const Location* at, const char* what) {
    const char* slash = strrchr(at->file, '/');
    fail(std::string(slash ? slash + 1 : at->file) + ":" + std::to_string(at->line) + ": " + what);
}
}  // namespace emulator
extern "C" {
__attribute__((weak, visibility("default"))) void __ubsan_handle_out_of_bounds(void* d, uintptr_t) { emulator::found((emulator::Location*)d, "index outside of an array"); }
__attribute__((weak, visibility("default"))) void __ubsan_handle_type_mismatch_v1(void* d, uintptr_t) { emulator::found((emulator::Location*)d, "misaligned access"); }
}
