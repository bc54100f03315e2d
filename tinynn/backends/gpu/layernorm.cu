// Layer normalization of rows x (M, F); the formulas stand in layernorm.py.
//
// A team of threads has a row: a warp or a part of one, and where a row is longer the whole block. A thread keeps up to
// HELD packs in registers, so that a row is read once; of rows that are longer still the rest is read again, from the
// cache.
// Sums over rows, for dgamma and dbeta, are those of channels.cuh: parts for runs of rows, then their sum, which extra
// blocks of the kernel that writes dx make.

constexpr int HELD = 4;  // as in layernorm.py

struct Team {  // `size` threads: a power of two up to 32, or the block
    int size, me;
    __device__ __forceinline__ real sum(real value) const {
        if (size > WARP_SIZE) return block_reduce(value);
        for (int step = size / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
        return value;
    }
};

// A row's numbers, as far as they are this thread's: packs me, me + size, ... of n.
template <int V> struct Row {
    const real* x;
    Size n;
    Team team;
    Pack<V> held[HELD];

    __device__ __forceinline__ Row(const real* x, Size n, Team team) : x(x), n(n), team(team) {
#pragma unroll
        for (int i = 0; i < HELD; i++)
            if (team.me + i * team.size < n) held[i] = load<V>(x + (Size)(team.me + i * team.size) * V);
    }
};

// use(pack of a, pack of b, number of the first element), for each pack of this thread; b may be a.
template <int V, class Use> __device__ __forceinline__ void each_pack(const Row<V>& a, const Row<V>& b, Use use) {
#pragma unroll
    for (int i = 0; i < HELD; i++)
        if (a.team.me + i * a.team.size < a.n) use(a.held[i], b.held[i], (Size)(a.team.me + i * a.team.size) * V);
    for (Size j = a.team.me + HELD * a.team.size; j < a.n; j += a.team.size)
        use(load<V>(a.x + j * V), load<V>(b.x + j * V), j * V);
}

// The rows of a block, one for each of its teams, in turn; every thread goes through all turns, some with an empty row.
#define EACH_ROW(r, blocks)                                                                                    \
    for (Size r##_0 = (Size)blockIdx.x * (blockDim.x / (int)size), r = r##_0 + threadIdx.x / (int)size; r##_0 < M; \
         r##_0 += (Size)(blocks) * (blockDim.x / (int)size), r = r##_0 + threadIdx.x / (int)size)

template <int V>
__device__ __forceinline__ void forward(
    real* y, real* mean, real* rstd, const real* x, const real* gamma, const real* beta, real epsilon, Size size,
    Size M, Size F) {
    Team team = {(int)size, (int)threadIdx.x % (int)size};
    EACH_ROW(r, gridDim.x) {
        Row<V> row(x + r * F, r < M ? F / V : 0, team);
        // about the row's first number: means far from zero lose no digits
        real origin = r < M ? x[r * F] : real(0), sum = 0, squares = 0;
        each_pack(row, row, [&](const Pack<V>& p, const Pack<V>&, Size) {
            for (int v = 0; v < V; v++) sum += p[v] - origin;
        });
        real centre = team.sum(sum) / F;
        each_pack(row, row, [&](const Pack<V>& p, const Pack<V>&, Size) {
            for (int v = 0; v < V; v++) {
                real d = p[v] - origin - centre;
                squares += d * d;
            }
        });
        real scale = 1 / sqrt(team.sum(squares) / F + epsilon);
        each_pack(row, row, [&](const Pack<V>& p, const Pack<V>&, Size f) {
            Pack<V> result, g, b;
            if (gamma) g = load<V>(gamma + f);
            if (beta) b = load<V>(beta + f);
            for (int v = 0; v < V; v++) {
                result[v] = (p[v] - origin - centre) * scale;
                if (gamma) result[v] *= g[v];
                if (beta) result[v] += b[v];
            }
            store(y + r * F + f, result);
        });
        if (team.me == 0 && r < M) {
            mean[r] = origin + centre;
            rstd[r] = scale;
        }
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) layernorm_forward(
    real* y, real* mean, real* rstd, const real* x, const real* gamma, const real* beta, double epsilon, Size size,
    Size M, Size F) {
    if (in_packs(F, y, x, gamma, beta)) forward<WIDEST>(y, mean, rstd, x, gamma, beta, (real)epsilon, size, M, F);
    else forward<1>(y, mean, rstd, x, gamma, beta, (real)epsilon, size, M, F);
}

// -- backward ---------------------------------------------------------------------------------------------------------

template <int V> struct Rows {  // dy and xhat, for the sums over rows
    const real *dy, *x, *mean, *rstd;
    Size c, F;
    struct Read { Pack<V> dy, x; real mean, rstd; };
    __device__ __forceinline__ void first(Read& row, Size r) const {
        row = {load<V>(dy + r * F + c), load<V>(x + r * F + c), mean[r], rstd[r]};
    }
    __device__ __forceinline__ void second(Read&, Size) const {}
    __device__ __forceinline__ void compute(Pack<V>& g, Pack<V>& xhat, const Read& row) const {
        g = row.dy;
        for (int v = 0; v < V; v++) xhat[v] = (row.x[v] - row.mean) * row.rstd;
    }
};

template <int V>
__device__ __forceinline__ void sums(
    real* parts, const real* dy, const real* x, const real* mean, const real* rstd, Tile<V> tile, Size F) {
    Rows<V> source = {dy, x, mean, rstd, tile.c, F};
    write_sums(parts, source, tile, F);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) layernorm_sums(
    real* parts, const real* dy, const real* x, const real* mean, const real* rstd, Size width, Size rows, Size M,
    Size F) {
    if (in_packs(F, dy, x)) sums(parts, dy, x, mean, rstd, Tile<WIDEST>(width, rows, M, F), F);
    else sums(parts, dy, x, mean, rstd, Tile<1>(width, rows, M, F), F);
}

template <int V>
__device__ __forceinline__ void backward(
    real* dx, const real* dy, const real* x, const real* mean, const real* rstd, const real* gamma, Size size,
    Size row_blocks, Size M, Size F) {
    Team team = {(int)size, (int)threadIdx.x % (int)size};
    EACH_ROW(r, row_blocks) {
        bool there = r < M;
        Row<V> row(x + r * F, there ? F / V : 0, team), gradient(dy + r * F, there ? F / V : 0, team);
        real m = there ? mean[r] : real(0), scale = there ? rstd[r] : real(0), s = 0, t = 0;
        each_pack(row, gradient, [&](const Pack<V>& p, const Pack<V>& d, Size f) {
            Pack<V> w;
            if (gamma) w = load<V>(gamma + f);
            for (int v = 0; v < V; v++) {
                real g = gamma ? d[v] * w[v] : d[v];
                s += g;
                t += g * ((p[v] - m) * scale);
            }
        });
        s = team.sum(s) / F;
        t = team.sum(t) / F;
        each_pack(row, gradient, [&](const Pack<V>& p, const Pack<V>& d, Size f) {
            Pack<V> w, result;
            if (gamma) w = load<V>(gamma + f);
            for (int v = 0; v < V; v++) {
                real g = gamma ? d[v] * w[v] : d[v];
                result[v] = scale * (g - s - (p[v] - m) * scale * t);
            }
            store(dx + r * F + f, result);
        });
    }
}

// The first `row_blocks` blocks write dx, which may be dy; each of the others merges the parts of a tile of features.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) layernorm_backward(
    const real* dy, real* dx, real* dgamma, real* dbeta, const real* x, const real* mean, const real* rstd,
    const real* gamma, const real* parts, Size runs, Size width, Size size, Size row_blocks, Size M, Size F) {
    if (blockIdx.x >= row_blocks) {
        Tile<1> tile(blockIdx.x - row_blocks, 0, width, 0, 0, F);
        write_gradients(dgamma, dbeta, merged_sums(parts, runs, tile, F), tile);
    } else if (in_packs(F, dx, dy, x, gamma)) {
        backward<WIDEST>(dx, dy, x, mean, rstd, gamma, size, row_blocks, M, F);
    } else {
        backward<1>(dx, dy, x, mean, rstd, gamma, size, row_blocks, M, F);
    }
}
