// What lstm.cu, gru.cu and rnn.cu share. A launch is one step of all sequences, forward or backward:
//
//   a block has ROWS sequences and UNITS units, with all gates of these units: GROUPS x UNITS columns of the product
//   [ROWS, K] x [K, GROUPS x UNITS]. The left matrix (states or gate gradients of the step before) and the right one
//   (U, or U' once transposed) pass through shared memory in chunks of DEPTH, several under way (asynchronous copies).
//   The PARTS of the block divide each chunk's depth between them: so a block of few outputs has many threads, whose
//   partial sums are added in order at the end. Then the block has all that its gates need, and finishes its states.
//
// What a block reads of other blocks was written by the launch before. Tile sizes are options of the compiler, chosen
// by shape in recurrent.py. Products are of `real` (no TF32): errors pile up over the steps.

constexpr int MOST_SHARED = 48 << 10;

struct Rows {  // of a matrix: that of sequence n begins at start + n stride
    const real* start;
    Size stride;
    __device__ __forceinline__ real at(Size n, Size j) const { return start[n * stride + j]; }
};

struct Output {  // one of a block's, for one thread: sequence n and unit j, in the block's row and unit
    Size n, j;
    int row, unit;
    bool inside;
};

template <int GROUPS, int ROWS, int UNITS, int PER_THREAD, int PARTS, int REPEAT> struct Product {
    // A thread has PER_THREAD rows of four columns, and of each chunk REPEAT times WIDEST of its depth.
    static constexpr int WIDTH = UNITS, COLUMNS = GROUPS * UNITS, QUADS = COLUMNS / 4, ROW_STEP = ROWS / PER_THREAD;
    static constexpr int TILES = ROW_STEP * QUADS, THREADS = TILES * PARTS, DEPTH = PARTS * WIDEST * REPEAT;
    static constexpr int OUTPUTS = ROWS * UNITS, EACH_THREAD = ceil_div(OUTPUTS, THREADS);
    static_assert(UNITS % 4 == 0 && ROWS % PER_THREAD == 0 && THREADS % WARP_SIZE == 0 && THREADS <= 1024);

    struct Chunk {
        real a[ROWS][DEPTH + WIDEST];  // 16 bytes more: the rows begin in different banks
        real b[DEPTH][COLUMNS];
    };
    static constexpr int FITTING = MOST_SHARED / (int)sizeof(Chunk), STAGES = FITTING < 4 ? FITTING : 4;
    static constexpr int PITCH = COLUMNS + (COLUMNS % 32 == 0 && UNITS < 32 ? UNITS : 0);  // banks, when sums are read
    static constexpr bool FOLDED = PARTS * ROWS * PITCH * (int)sizeof(real) > MOST_SHARED;
    static constexpr int KEPT = FOLDED ? PARTS / 2 : PARTS;
    static_assert(STAGES >= 2);

    union Memory {
        alignas(16) Chunk chunks[STAGES];
        alignas(16) real sums[KEPT][ROWS][PITCH];
        __device__ real total(int row, int column) const {
            real sum = sums[0][row][column];
#pragma unroll
            for (int part = 1; part < KEPT; part++) sum += sums[part][row][column];
            return sum;
        }
    };
    static_assert(sizeof(Memory) <= MOST_SHARED);

    static __device__ __forceinline__ Output output(int i, Size N, Size H) {
        int place = threadIdx.x + i * THREADS, row = place / UNITS, unit = place % UNITS;
        Size n = (Size)blockIdx.x * ROWS + row, j = (Size)blockIdx.y * UNITS + unit;
        return {n, j, row, unit, place < OUTPUTS && n < N && j < H};
    }

    // Of the left matrix (N, K) the block's rows; of the right one, b (K, ...), columns g H + j for its units j and all
    // groups g. The sums stay in the memory, for all threads. A product of depth K = 0 reads nothing.
    static __device__ __forceinline__ void run(
        Memory& memory, Rows a, const real* b, Size b_stride, Size K, Size N, Size H) {
        real sums[PER_THREAD][4] = {};
        Size odd = (Size)a.start | (Size)b | (a.stride | b_stride | K | H) * (Size)sizeof(real);
        if (odd % 16 == 0) add_chunks<16>(sums, memory, a, b, b_stride, K, N, H);  // all threads of all blocks
        else add_chunks<sizeof(real)>(sums, memory, a, b, b_stride, K, N, H);
        copies_wait<0>();
        __syncthreads();
        int part = threadIdx.x / TILES, quad = threadIdx.x % QUADS, row = threadIdx.x % TILES / QUADS;
        if constexpr (FOLDED) {
            if (part >= KEPT) exchange<false>(sums, memory.sums[part - KEPT], row, quad);
            __syncthreads();
            if (part < KEPT) exchange<true>(sums, memory.sums[part], row, quad);
        }
        if (part < KEPT) exchange<false>(sums, memory.sums[part], row, quad);
        __syncthreads();
    }

    // BYTES: of a copy. Outside of the matrices are zeros.
    template <int BYTES> static __device__ __forceinline__ void add_chunks(
        real (&sums)[PER_THREAD][4], Memory& memory, Rows a, const real* b, Size b_stride, Size K, Size N, Size H) {
        constexpr int V = BYTES / sizeof(real), A_WIDTH = DEPTH / V, A_SWEEP = THREADS / A_WIDTH;
        constexpr int B_WIDTH = COLUMNS / V, B_SWEEP = THREADS / B_WIDTH;  // rows that all threads copy at once
        static_assert(A_SWEEP > 0 && B_SWEEP > 0);
        const int thread = threadIdx.x, part = thread / TILES, quad = thread % QUADS, row = thread % TILES / QUADS;
        const Size n0 = (Size)blockIdx.x * ROWS, j0 = (Size)blockIdx.y * UNITS;
        const int a_row = thread / A_WIDTH, a_k = thread % A_WIDTH * V, b_k = thread / B_WIDTH;
        const int column = thread % B_WIDTH * V, unit = column % UNITS;
        const int a_end = a_row < A_SWEEP ? ROWS : 0, b_end = b_k < B_SWEEP ? DEPTH : 0;  // 0: nothing is left for it
        const int rows = N - n0 < ROWS ? (int)(N - n0) : ROWS, count = (int)ceil_div(K, DEPTH);
        const bool inside = j0 + unit < H;
        const real* a_next = a.start + (n0 + a_row) * a.stride + a_k;
        const real* b_next = b + b_k * b_stride + column / UNITS * H + j0 + unit;
        // The first STAGES - 1 rounds only copy: so this code is there once, and takes fewer registers.
#pragma unroll 1
        for (int chunk = 1 - STAGES; chunk < count; chunk++) {
            if (chunk >= 0) {
                copies_wait<STAGES - 2>();
                __syncthreads();  // the chunk is there for all, and the one before it is read
            }
            int next = chunk + STAGES - 1;
            if (next < count) {
                Chunk& to = memory.chunks[next % STAGES];
                int left = (int)(K - (Size)next * DEPTH);
#pragma unroll
                for (int i = 0; i * A_SWEEP < ROWS; i++) {
                    int to_row = a_row + i * A_SWEEP;
                    if (to_row < a_end)
                        copy_async<BYTES>(
                            &to.a[to_row][a_k], a_next + i * A_SWEEP * a.stride, to_row < rows && a_k < left);
                }
#pragma unroll
                for (int i = 0; i * B_SWEEP < DEPTH; i++) {
                    int k = b_k + i * B_SWEEP;
                    if (k < b_end)
                        copy_async<BYTES>(&to.b[k][column], b_next + i * B_SWEEP * b_stride, k < left && inside);
                }
                a_next += DEPTH;
                b_next += DEPTH * b_stride;
            }
            copies_commit();
            if (chunk >= 0) multiply(sums, memory.chunks[chunk % STAGES], part, row, quad);
        }
    }

    static __device__ __forceinline__ void multiply(
        real (&sums)[PER_THREAD][4], const Chunk& chunk, int part, int row, int quad) {
#pragma unroll
        for (int repeat = 0; repeat < REPEAT; repeat++) {
            int k = (repeat * PARTS + part) * WIDEST;
            Pack<WIDEST> a[PER_THREAD];
#pragma unroll
            for (int i = 0; i < PER_THREAD; i++)
                a[i] = load<WIDEST>(&chunk.a[row + i * ROW_STEP][k]);
#pragma unroll
            for (int v = 0; v < WIDEST; v++) {
                Pack<4> b = load<4>(&chunk.b[k + v][4 * quad]);
#pragma unroll
                for (int i = 0; i < PER_THREAD; i++)
#pragma unroll
                    for (int c = 0; c < 4; c++) sums[i][c] = fma(a[i][v], b[c], sums[i][c]);
            }
        }
    }

    // A thread's sums to the memory, or (`adds`) what is there to them.
    template <bool adds> static __device__ __forceinline__ void exchange(
        real (&sums)[PER_THREAD][4], real (&memory)[ROWS][PITCH], int row, int quad) {
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            Pack<4>& four = *reinterpret_cast<Pack<4>*>(&memory[row + i * ROW_STEP][4 * quad]);
#pragma unroll
            for (int c = 0; c < 4; c++)
                if (adds) sums[i][c] += four[c];
                else four[c] = sums[i][c];
        }
    }
};

template <int GROUPS> using Forward =
    Product<GROUPS, FORWARD_ROWS, FORWARD_UNITS, FORWARD_PER_THREAD, FORWARD_PARTS, FORWARD_REPEAT>;
using Backward = Product<1, BACKWARD_ROWS, BACKWARD_UNITS, BACKWARD_PER_THREAD, BACKWARD_PARTS, BACKWARD_REPEAT>;

// -- steps and states ------------------------------------------------------------------------------------------------

// Begins the work on each of a thread's outputs. All threads come by, so the compiler cannot merge the branches of one
// output with those of the next: it would make code for all combinations (20 seconds for one kernel).
__device__ __forceinline__ void one_by_one() { __syncwarp(); }

// One of the steps 0..T-1, which run backwards from the last one if asked for.
struct Step {
    Size t, T;
    bool backwards;
    __device__ Step(Size t, Size T, Size backwards) : t(t), T(T), backwards(backwards != 0) {}
    __device__ Size before() const { return backwards ? t + 1 : t - 1; }
    __device__ Size after() const { return backwards ? t - 1 : t + 1; }
    __device__ bool first() const { return t == (backwards ? T - 1 : 0); }
    __device__ bool last() const { return t == (backwards ? 0 : T - 1); }
    __device__ bool beyond() const { return t < 0 || t >= T; }  // behind the first one, on the way back
    __device__ Size parity() const { return (backwards ? T - 1 - t : t) % 2; }

    // Of an array (N, T, width): one step of all sequences.
    __device__ Rows rows(const real* of, Size t, Size width) const { return {of + t * width, T * width}; }
    // States (N, T, H) before this step; h0 (N, H) is that before the first.
    __device__ Rows old(const real* h, const real* h0, Size H) const {
        return first() ? Rows{h0, H} : rows(h, before(), H);
    }
    // What goes into U: the old states, or with r their products with it; `fed` (2, N, H) has these of two steps.
    __device__ Rows into(const real* fed, Rows old, Size N, Size H) const {
        return fed ? Rows{fed + parity() * N * H, H} : old;
    }
    // The new state's product with r, for the next step.
    __device__ void feed(real* fed, const real* r, real h, Size N, Size H, Size place) const {
        if (fed) fed[(1 - parity()) * N * H + place] = r[place] * h;
    }
    // Whether the step counts for a sequence; mask (N, T) or null.
    __device__ bool counts(const bool* mask, Size n) const { return !mask || mask[n * T + t]; }
};

__device__ __forceinline__ real value_or_zero(const real* array, Size i) { return array ? array[i] : real(0); }

// The gradient of h_t without what comes through U': what was carried past it, and what is from outside the recurrence.
__device__ __forceinline__ real gradient_past_U(
    const real* carried, const real* dh, const real* dlast, Step step, Output at, Size H) {
    Size place = at.n * H + at.j;
    real g = step.last() ? value_or_zero(dlast, place) : carried[place];
    return step.beyond() ? g : g + value_or_zero(dh, (at.n * step.T + step.t) * H + at.j);
}

// The usual activations stand where they are used; all others are one function, called.
__device__ __noinline__ real rare(int kind, real x, real alpha) { return activate(kind, x, alpha); }
__device__ __noinline__ real rare_backward(int kind, real dy, real y, real alpha) {
    return activate_backward(kind, dy, y, y, alpha);
}

struct Squash {  // an activation whose derivative follows from its result
    int kind;
    real alpha;
    __device__ Squash(Size kind, double alpha) : kind((int)kind), alpha((real)alpha) {}
    __device__ __forceinline__ real operator()(real x) const {
        return kind == TANH ? tanh(x) : kind == SIGMOID ? sigmoid(x) : rare(kind, x, alpha);
    }
    __device__ __forceinline__ real backward(real dy, real y) const {
        if (kind == TANH) return dy * (1 - y * y);
        return kind == SIGMOID ? dy * (y * (1 - y)) : rare_backward(kind, dy, y, alpha);
    }
};

// -- before and after all steps --------------------------------------------------------------------------------------

// result (N, T, H): r h_{t-1}, what went into U at each step. h0 and r may be null: zeros, ones.
extern "C" __global__ void states_into_U(
    real* result, const real* h, const real* h0, const real* r, Size T, Size H, Size backwards, Size n_elements) {
    EACH(i, n_elements) {
        Size j = i % H, n = i / H / T;
        Step step(i / H % T, T, backwards);
        real old = step.first() ? value_or_zero(h0, n * H + j) : h[(n * T + step.before()) * H + j];
        result[i] = r ? old * r[n * H + j] : old;
    }
}
