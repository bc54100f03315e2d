// Attention: what stands around the batched products of attention.py. The matrices of heads are either `outer`, as the
// layers have them, (N, L, A, W), or a batch of `rows` (N, A, L, W) or `columns` (N, A, W, L): tiles of 32 x 32 are
// moved between these. A row of scores belongs to a warp, which keeps it in registers, or to a block if it is long.

// -- to and from the batch --------------------------------------------------------------------------------------------

constexpr int TILE = 32, TILE_ROWS = 8;  // a block of 32 x 8 threads moves tiles of 32 x 32

struct Heads {
    real *outer, *rows, *columns;  // the last two may be null
    Size L, W;
};

// One tile of a head: outer -> rows and columns, or back from the one that is there. Neighbouring threads have
// neighbouring addresses on both sides, since columns are turned in shared memory (33 wide: no bank is hit twice).
__device__ __forceinline__ void move_tile(const Heads& h, Size head, Size A, Size l0, Size w0, bool back) {
    Size n = head / A, a = head % A;
    __shared__ real tile[TILE][TILE + 1];
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    __syncthreads();  // the tile before may still be read
    if (back && h.columns)
        for (int i = y; i < TILE; i += TILE_ROWS)
            if (w0 + i < h.W && l0 + x < h.L) tile[x][i] = h.columns[(head * h.W + w0 + i) * h.L + l0 + x];
    if (back) __syncthreads();
    for (int i = y; i < TILE; i += TILE_ROWS) {
        Size l = l0 + i, w = w0 + x;
        if (l >= h.L || w >= h.W) continue;
        real& outer = h.outer[((n * h.L + l) * A + a) * h.W + w];
        if (back) {
            outer = h.columns ? tile[i][x] : h.rows[(head * h.L + l) * h.W + w];
        } else {
            real value = outer;
            if (h.rows) h.rows[(head * h.L + l) * h.W + w] = value;
            tile[i][x] = value;
        }
    }
    if (back || !h.columns) return;
    __syncthreads();
    for (int i = y; i < TILE; i += TILE_ROWS)
        if (w0 + i < h.W && l0 + x < h.L) h.columns[(head * h.W + w0 + i) * h.L + l0 + x] = tile[x][i];
}

// Up to four arrays, one for each blockIdx.y; blocks of one y share the tiles of one array.
extern "C" __global__ void __launch_bounds__(TILE * TILE_ROWS) move_heads(
    real* outer0, real* rows0, real* columns0, Size L0, Size W0, real* outer1, real* rows1, real* columns1, Size L1,
    Size W1, real* outer2, real* rows2, real* columns2, Size L2, Size W2, real* outer3, real* rows3, real* columns3,
    Size L3, Size W3, Size N, Size A, Size back) {
    Heads h = {outer0, rows0, columns0, L0, W0};
    if (blockIdx.y == 1) h = {outer1, rows1, columns1, L1, W1};
    if (blockIdx.y == 2) h = {outer2, rows2, columns2, L2, W2};
    if (blockIdx.y == 3) h = {outer3, rows3, columns3, L3, W3};
    Size down = ceil_div(h.L, TILE), across = ceil_div(h.W, TILE);
    for (Size i = blockIdx.x; i < N * A * down * across; i += gridDim.x) {
        Size head = i / (down * across), place = i % (down * across);
        move_tile(h, head, A, place / across * TILE, place % across * TILE, back != 0);
    }
}

// -- rows of scores ---------------------------------------------------------------------------------------------------

// One row of products q k', of query t in head (n, a): the scores of its softmax.
struct Scores {
    const real* p;
    const bool* mask;      // null, or this row's: key s has mask[s * mask_step]
    Size mask_step, seen;  // keys from `seen` on come later than the query
    real scale;
    __device__ __forceinline__ real operator()(Size s) const {
        return s < seen && (!mask || mask[s * mask_step]) ? scale * p[s] : -INFINITY;
    }
};

struct Mask {  // of bools, with the distances of its neighbours along each axis, 0 where one is for all; or null
    const bool* start;
    Size n, a, t, s;
};

__device__ __forceinline__ Scores scores_of(const real* p, const Mask& mask, Size row, real scale, bool causal, Size A,
                                            Size T, Size S) {
    Scores scores = {p + row * S, nullptr, mask.s, S, scale};
    if (!mask.start && !causal) return scores;  // no divisions
    Size head = row / T, t = row % T;
    if (causal) scores.seen = min(S, t + 1);
    if (mask.start) scores.mask = mask.start + head / A * mask.n + head % A * mask.a + t * mask.t;
    return scores;
}

// A query that sees no key has a largest score of -inf and a total of 0: its exponentials, and p, become 0.
__device__ __forceinline__ real finite_top(real top) { return top == -INFINITY ? real(0) : top; }
__device__ __forceinline__ real factor_of(real total) { return total == 0 ? real(1) : 1 / total; }

__device__ __forceinline__ void put(real* p, real* kept, const real* keep, Size i, real value) {
    p[i] = value;
    if (keep) kept[i] = value * keep[i];
}

// A warp has a row; its lanes keep their elements, lane, lane + 32, ... up to COUNT of them, in registers.
template <int COUNT>
__device__ __forceinline__ void softmax_of_warp(const Scores& scores, real* p, real* kept, const real* keep, int S) {
    real value[COUNT], top = -INFINITY, total = 0;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        int s = i * WARP_SIZE + lane_index();
        value[i] = s < S ? scores(s) : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) top = Larger()(top, value[i]);
    top = finite_top(warp_reduce(top, Larger()));
#pragma unroll
    for (int i = 0; i < COUNT; i++) total += value[i] = exp(value[i] - top);
    real factor = factor_of(warp_reduce(total));
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        int s = i * WARP_SIZE + lane_index();
        if (s < S) put(p, kept, keep, s, value[i] * factor);
    }
}

// p (rows, S) in place: products -> probabilities; kept = p keep where there is a keep. S is at most 1024.
extern "C" __global__ void __launch_bounds__(128) softmax_by_warps(
    real* p, real* kept, const real* keep, const bool* mask, Size mask_n, Size mask_a, Size mask_t, Size mask_s,
    double scale, Size causal, Size A, Size T, Size S, Size rows) {
    Mask allowed = {mask, mask_n, mask_a, mask_t, mask_s};
    Size warps = blockDim.x / WARP_SIZE;
    for (Size row = blockIdx.x * warps + warp_index(); row < rows; row += gridDim.x * warps) {
        Scores scores = scores_of(p, allowed, row, (real)scale, causal != 0, A, T, S);
        real *to = p + row * S, *to_kept = kept + row * S;
        const real* factors = keep ? keep + row * S : nullptr;
        if (S <= 2 * WARP_SIZE) softmax_of_warp<2>(scores, to, to_kept, factors, (int)S);
        else if (S <= 8 * WARP_SIZE) softmax_of_warp<8>(scores, to, to_kept, factors, (int)S);
        else softmax_of_warp<32>(scores, to, to_kept, factors, (int)S);
    }
}

// The same for longer rows: a block has a row, and reads it three times, from the cache but for the first.
extern "C" __global__ void __launch_bounds__(512) softmax_by_blocks(
    real* p, real* kept, const real* keep, const bool* mask, Size mask_n, Size mask_a, Size mask_t, Size mask_s,
    double scale, Size causal, Size A, Size T, Size S, Size rows) {
    Mask allowed = {mask, mask_n, mask_a, mask_t, mask_s};
    for (Size row = blockIdx.x; row < rows; row += gridDim.x) {
        Scores scores = scores_of(p, allowed, row, (real)scale, causal != 0, A, T, S);
        real top = -INFINITY, total = 0;
        for (Size s = threadIdx.x; s < S; s += blockDim.x) top = Larger()(top, scores(s));
        top = finite_top(block_reduce(top, Larger()));
        for (Size s = threadIdx.x; s < S; s += blockDim.x) total += exp(scores(s) - top);
        real factor = factor_of(block_reduce(total));
        for (Size s = threadIdx.x; s < S; s += blockDim.x)
            put(p, kept, keep, row * S + s, exp(scores(s) - top) * factor);
    }
}

// -- their gradients --------------------------------------------------------------------------------------------------

// p -> ds = scale p (dp keep - inner), dp -> p keep, which is needed for dv: each in the place of the other's last use.
// Without keep dp stays.
__device__ __forceinline__ void put_gradient(real& p, real& dp_place, const real* keep, Size i, real value, real dp,
                                             real inner, real scale) {
    if (keep) dp_place = value * keep[i];
    p = value * (dp - inner) * scale;
}

template <int COUNT>
__device__ __forceinline__ void gradient_of_warp(real* p, real* dp, const real* keep, real scale, int S) {
    real value[COUNT], slope[COUNT], inner = 0;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        int s = i * WARP_SIZE + lane_index();
        value[i] = s < S ? p[s] : real(0);
        slope[i] = s < S ? dp[s] : real(0);
        if (keep && s < S) slope[i] *= keep[s];
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) inner += slope[i] * value[i];
    inner = warp_reduce(inner);
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        int s = i * WARP_SIZE + lane_index();
        if (s < S) put_gradient(p[s], dp[s], keep, s, value[i], slope[i], inner, scale);
    }
}

extern "C" __global__ void __launch_bounds__(128) gradient_by_warps(
    real* p, real* dp, const real* keep, double scale, Size S, Size rows) {
    Size warps = blockDim.x / WARP_SIZE;
    for (Size row = blockIdx.x * warps + warp_index(); row < rows; row += gridDim.x * warps) {
        real *values = p + row * S, *slopes = dp + row * S;
        const real* factors = keep ? keep + row * S : nullptr;
        if (S <= 2 * WARP_SIZE) gradient_of_warp<2>(values, slopes, factors, (real)scale, (int)S);
        else if (S <= 8 * WARP_SIZE) gradient_of_warp<8>(values, slopes, factors, (real)scale, (int)S);
        else gradient_of_warp<32>(values, slopes, factors, (real)scale, (int)S);
    }
}

extern "C" __global__ void __launch_bounds__(512) gradient_by_blocks(
    real* p, real* dp, const real* keep, double scale, Size S, Size rows) {
    for (Size row = blockIdx.x; row < rows; row += gridDim.x) {
        real inner = 0;
        for (Size i = row * S + threadIdx.x; i < (row + 1) * S; i += blockDim.x)
            inner += (keep ? dp[i] * keep[i] : dp[i]) * p[i];
        inner = block_reduce(inner);
        for (Size i = row * S + threadIdx.x; i < (row + 1) * S; i += blockDim.x)
            put_gradient(p[i], dp[i], keep, i, p[i], keep ? dp[i] * keep[i] : dp[i], inner, (real)scale);
    }
}
