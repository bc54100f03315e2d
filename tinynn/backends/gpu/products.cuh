// The product of two matrices C = A B, a tile of ROWS x COLUMNS of C per block of threads, the depth in steps of DEPTH.
//
// Where A's and B's numbers come from is the business of loaders: `copy(panel)` copies this thread's part of a step to
// shared memory, asynchronously, and `advance()` goes on to the next. STAGES steps are under way at once. Two ways to
// multiply: tensor cores in TF32 (TENSOR_CORES, float only), or exact multiply-adds in registers. One compilation has
// one tile:
//   TILE_ROWS, TILE_COLUMNS   of C
//   TILE_DOWN, TILE_ACROSS    warps (tensor cores) or threads (exact) that share it, as a grid
//   VECTOR                    4 or 1 neighbours that are copied at once

constexpr int ROWS = TILE_ROWS, COLUMNS = TILE_COLUMNS;
#if defined(TENSOR_CORES) && defined(REAL_IS_FLOAT)
constexpr bool IN_TF32 = true;
#else
constexpr bool IN_TF32 = false;
#endif
constexpr int THREADS = TILE_DOWN * TILE_ACROSS * (IN_TF32 ? WARP_SIZE : 1);
constexpr int DEPTH = sizeof(real) == 4 ? 16 : 8;
constexpr int LEAST_BLOCKS =  // on a multiprocessor, for which registers have to be enough
    !IN_TF32 ? 1 : VECTOR == 1 ? 384 / THREADS + THREADS / 256 : (ROWS * COLUMNS / THREADS > 16 ? 512 : 640) / THREADS;
constexpr int STATIC_MEMORY = 48 << 10;  // bytes of a block that no launch has to ask for
constexpr int MOST_STAGES = 3;

// -- copies ----------------------------------------------------------------------------------------------------------

// VECTOR numbers, from an address that is a multiple of 16 bytes (or of one number); zeros where not valid. By way of
// the L1 cache: the windows of a convolution overlap.
__device__ __forceinline__ void copy_numbers(real* to, const real* from, bool valid) {
    constexpr int AT_ONCE = VECTOR * sizeof(real) >= 16 ? 16 / sizeof(real) : 1;
#pragma unroll
    for (int i = 0; i < VECTOR; i += AT_ONCE) copy_async<AT_ONCE * sizeof(real), true>(to + i, from + i, valid);
}

// -- shared memory ---------------------------------------------------------------------------------------------------

// One step of A (LENGTH rows) or of B (LENGTH columns), stored as it lies in memory: ALONG_DEPTH says that neighbours
// are neighbours in depth, else in rows or columns. No two threads of a warp want the same bank at the same time:
//   exact   the lines are a little longer than what they hold
//   TF32    thread (g, t) of a warp, g = lane / 4, t = lane % 4, reads depths 4 t to 4 t + 3. ALONG_DEPTH it reads all
//           four at once, two lines of 16 filling the banks. Else it reads neighbouring rows, one depth after another,
//           and each four lines are turned by 8 places against the four before (or moved).
template <int LENGTH_, bool ALONG_DEPTH_> struct Panel {
    static constexpr int LENGTH = LENGTH_;
    static constexpr bool ALONG_DEPTH = ALONG_DEPTH_, TURNED = IN_TF32 && !ALONG_DEPTH && LENGTH % 32 == 0;
    static constexpr int STRIDE = ALONG_DEPTH ? DEPTH + (IN_TF32 ? 0 : 4) : LENGTH + (IN_TF32 ? 0 : 8);
    static constexpr int LINES = ALONG_DEPTH ? LENGTH : DEPTH;
    static constexpr int SIZE = LINES * STRIDE + (IN_TF32 && !ALONG_DEPTH && !TURNED ? LINES / 4 * 8 : 0);

    __device__ static __forceinline__ int place(int i, int k) {
        if (ALONG_DEPTH) return i * STRIDE + k;
        if (TURNED) return k * STRIDE + (i + k / 4 * 8) % LENGTH;
        return k * STRIDE + i + (IN_TF32 ? k / 4 * 8 : 0);
    }

    // what a thread copies: VECTOR numbers at `column()` of each of its COUNT lines
    static constexpr int PER_LINE = (ALONG_DEPTH ? DEPTH : LENGTH) / VECTOR;
    static constexpr int STEP = THREADS / PER_LINE;
    static constexpr int COUNT = ceil_div(LINES, STEP);
    static_assert(THREADS % PER_LINE == 0, "threads share whole lines");
    __device__ static __forceinline__ int column() { return threadIdx.x % PER_LINE * VECTOR; }
    __device__ static __forceinline__ int line(int i) { return threadIdx.x / PER_LINE + i * STEP; }

    __device__ static __forceinline__ void copy(real* panel, int i, const real* from, bool valid) {
        int to = ALONG_DEPTH ? place(line(i), column()) : place(column(), line(i));
        if (LINES % STEP == 0 || line(i) < LINES) copy_numbers(panel + to, from, valid);
    }
};

// -- multiplying -----------------------------------------------------------------------------------------------------

// WIDTH neighbours, from an address that is a multiple of their size.
template <int WIDTH> __device__ __forceinline__ void read_numbers(float* to, const float* from) {
    if constexpr (WIDTH == 4) {
        float4 v = *reinterpret_cast<const float4*>(from);
        to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else if constexpr (WIDTH == 2) {
        float2 v = *reinterpret_cast<const float2*>(from);
        to[0] = v.x, to[1] = v.y;
    } else
        to[0] = *from;
}

// WIDTH neighbours, of which `there` are there; at once where the address is a multiple of their size (aligned).
template <int WIDTH>
__device__ __forceinline__ void write_numbers(real* to, const real (&v)[WIDTH], int there, bool aligned) {
#ifdef REAL_IS_FLOAT
    if constexpr (WIDTH > 1)
        if (aligned && there >= WIDTH) {
            if constexpr (WIDTH == 4) *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
            if constexpr (WIDTH == 2) *reinterpret_cast<float2*>(to) = make_float2(v[0], v[1]);
            return;
        }
#endif
#pragma unroll
    for (int i = 0; i < WIDTH; i++)
        if (i < there) to[i] = v[i];
}

// A thread's sums are PER_THREAD_ROWS x PER_THREAD_COLUMNS groups of WIDTH neighbours: (row(r), column(c) + 0, 1, ...).

#if defined(TENSOR_CORES) && defined(REAL_IS_FLOAT)
// A number that tensor cores, which cut off all but 10 bits behind the point, read as x in TF32, rounded. The cut takes
// 2^-11 / m of a number m 2^e, 1 <= m < 2: 2^-11 / (2 ln 2) = 0.000352 on average, where the logarithm of m is spread
// evenly. That is given in advance: errors of up to 0.64 units of the last bit and of none on average, none at all for
// numbers of 10 bits, and NaN and inf stay. One instruction, where to_tf32 (up to 0.5 units) takes three: these were
// more than a third of the loop around it.
__device__ __forceinline__ unsigned nearly_tf32(float x) { return __float_as_uint(x * 1.00035219f); }

// Which of a warp's rows (or columns) thread g has in its slots: every eighth one, or 4 neighbours where they lie so.
template <class P, int SLOTS> struct Slots {
    static constexpr int WIDTH = P::ALONG_DEPTH ? 1 : SLOTS < 4 ? SLOTS : 4;  // neighbours
    static constexpr int GROUP = P::ALONG_DEPTH ? 2 : WIDTH;                  // read together
    __device__ static __forceinline__ int place(int g, int slot) {
        return slot / WIDTH * (8 * WIDTH) + g * WIDTH + slot % WIDTH;
    }

    // values[i][q] = that of the slot + i at depth 4 t + q, in TF32; first: of the warp
    __device__ static __forceinline__ void read(unsigned (*values)[4], const float* panel, int first, int slot) {
        int g = lane_index() / 4, t = lane_index() % 4;
        float numbers[4];
        if constexpr (P::ALONG_DEPTH) {
#pragma unroll
            for (int i = 0; i < GROUP; i++) {
                read_numbers<4>(numbers, panel + P::place(first + place(g, slot + i), 4 * t));
#pragma unroll
                for (int q = 0; q < 4; q++) values[i][q] = nearly_tf32(numbers[q]);
            }
        } else {
            const float* from = panel + P::place(first + place(g, slot), 4 * t);
#pragma unroll
            for (int q = 0; q < 4; q++) {
                read_numbers<WIDTH>(numbers, from + q * P::STRIDE);
#pragma unroll
                for (int i = 0; i < WIDTH; i++) values[i][q] = nearly_tf32(numbers[i]);
            }
        }
    }
};

// A warp has DOWN x ACROSS fragments of 16 x 8. Which row, column or depth a place in a fragment stands for is free, as
// long as A, B and C agree: so each thread reads and writes neighbours.
template <class A, class B> struct Product {
    static constexpr int DOWN = ROWS / TILE_DOWN / 16, ACROSS = COLUMNS / TILE_ACROSS / 8;
    static_assert(DOWN * TILE_DOWN * 16 == ROWS && ACROSS * TILE_ACROSS * 8 == COLUMNS, "fragments fill the tile");
    static_assert(DEPTH == 16, "two fragments of 8");
    using Rows = Slots<A, 2 * DOWN>;
    using Columns = Slots<B, ACROSS>;
    static constexpr int WIDTH = Columns::WIDTH == 1 ? 2 : Columns::WIDTH;
    static constexpr int PER_THREAD_ROWS = 2 * DOWN, PER_THREAD_COLUMNS = 2 * ACROSS / WIDTH;
    float sums[DOWN][ACROSS][4] = {};

    __device__ static __forceinline__ int first_row() { return warp_index() / TILE_ACROSS * (DOWN * 16); }
    __device__ static __forceinline__ int first_column() { return warp_index() % TILE_ACROSS * (ACROSS * 8); }
    __device__ static __forceinline__ int row(int r) { return first_row() + Rows::place(lane_index() / 4, r); }
    // a fragment has columns 2 t and 2 t + 1 of C: neighbours themselves, or each with those of the next fragments
    __device__ static __forceinline__ int column(int c) {
        int g = lane_index() % 4 * 2;
        return first_column() + (B::ALONG_DEPTH ? Columns::place(g, c) : Columns::place(g + c % 2, c / 2 * WIDTH));
    }
    __device__ __forceinline__ float& value(int r, int c, int i) {
        return B::ALONG_DEPTH ? sums[r / 2][c][r % 2 * 2 + i] : sums[r / 2][c / 2 * WIDTH + i][r % 2 * 2 + c % 2];
    }

    __device__ __forceinline__ void step(const float* a, const float* b) {
        unsigned left[Rows::GROUP][4], right[ACROSS][4];
#pragma unroll
        for (int n = 0; n < ACROSS; n += Columns::GROUP) Columns::read(right + n, b, first_column(), n);
#pragma unroll
        for (int r = 0; r < 2 * DOWN; r += Rows::GROUP) {  // a fragment has two slots of rows
            Rows::read(left, a, first_row(), r);
#pragma unroll
            for (int q = 0; q < 4; q += 2)  // depths 4 t + q and 4 t + q + 1 stand at t and t + 4 of the fragments
#pragma unroll
                for (int i = 0; i < Rows::GROUP; i += 2)
#pragma unroll
                    for (int n = 0; n < ACROSS; n++) {
                        unsigned of_a[4] = {left[i][q], left[i + 1][q], left[i][q + 1], left[i + 1][q + 1]};
                        unsigned of_b[2] = {right[n][q], right[n][q + 1]};
                        mma_tf32(sums[(r + i) / 2][n], of_a, of_b);
                    }
        }
    }
};
#else
template <class A, class B> struct Product {
    static constexpr int PER_THREAD_ROWS = ROWS / TILE_DOWN, PER_THREAD_COLUMNS = COLUMNS / TILE_ACROSS, WIDTH = 1;
    real sums[PER_THREAD_ROWS][PER_THREAD_COLUMNS] = {};

    // Where rows or columns are neighbours, a thread has them in fours, which are read at once.
    template <class P, int THREADS_ALONG> __device__ static __forceinline__ int spread(int thread, int i) {
        return P::ALONG_DEPTH ? thread + i * THREADS_ALONG : thread * 4 + i / 4 * (4 * THREADS_ALONG) + i % 4;
    }
    __device__ static __forceinline__ int row(int r) { return spread<A, TILE_DOWN>(threadIdx.x / TILE_ACROSS, r); }
    __device__ static __forceinline__ int column(int c) { return spread<B, TILE_ACROSS>(threadIdx.x % TILE_ACROSS, c); }
    __device__ __forceinline__ real& value(int r, int c, int) { return sums[r][c]; }

    __device__ __forceinline__ void step(const real* a, const real* b) {
#pragma unroll 4
        for (int k = 0; k < DEPTH; k++) {
            real left[PER_THREAD_ROWS], right[PER_THREAD_COLUMNS];
#pragma unroll
            for (int r = 0; r < PER_THREAD_ROWS; r++) left[r] = a[A::place(row(r), k)];
#pragma unroll
            for (int c = 0; c < PER_THREAD_COLUMNS; c++) right[c] = b[B::place(column(c), k)];
#pragma unroll
            for (int r = 0; r < PER_THREAD_ROWS; r++)
#pragma unroll
                for (int c = 0; c < PER_THREAD_COLUMNS; c++) sums[r][c] = fma(left[r], right[c], sums[r][c]);
        }
    }
};
#endif

// Row r of a thread's sums, as far as they are among the `columns` that there are; to: where column 0 stands.
template <class P>
__device__ __forceinline__ void write_row(real* to, P& product, int r, int columns, bool aligned) {
#pragma unroll
    for (int c = 0; c < P::PER_THREAD_COLUMNS; c++) {
        real values[P::WIDTH];
#pragma unroll
        for (int i = 0; i < P::WIDTH; i++) values[i] = product.value(r, c, i);
        write_numbers(to + product.column(c), values, columns - product.column(c), aligned);
    }
}

// All steps. All threads call it, with the same number of steps, once in a kernel.
template <class A, class B>
__device__ __forceinline__ void multiply(Product<typename A::P, typename B::P>& product, A& a, B& b, int steps) {
    constexpr int A_SIZE = A::P::SIZE, SIZE = A_SIZE + B::P::SIZE, FIT = STATIC_MEMORY / (SIZE * (int)sizeof(real));
    constexpr int STAGES = FIT < MOST_STAGES ? FIT : MOST_STAGES, AHEAD = STAGES - 1;
    static_assert(STAGES >= 2 && A_SIZE % 4 == 0 && SIZE % 4 == 0, "two steps fit, each at an aligned address");
    __align__(16) __shared__ real memory[STAGES * SIZE];
    auto load = [&](int step, int place) {  // a group, empty behind the end
        if (step < steps) {
            a.copy(memory + place);
            b.copy(memory + place + A_SIZE);
            a.advance();
            b.advance();
        }
        copies_commit();
    };
#pragma unroll 1
    for (int step = 0; step < AHEAD; step++) load(step, step * SIZE);
    int place = 0;
    for (int step = 0; step < steps; step++) {
        copies_wait<AHEAD - 1>();
        __syncthreads();  // this step has arrived for all; all have read the one before, whose place is the next one's
        load(step + AHEAD, place == 0 ? AHEAD * SIZE : place - SIZE);
        product.step(memory + place, memory + place + A_SIZE);
        place = place == AHEAD * SIZE ? 0 : place + SIZE;
    }
}
