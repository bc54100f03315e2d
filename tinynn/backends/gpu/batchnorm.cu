// Batch normalization of rows x (M, C), tile by tile (channels.cuh); the formulas stand in batchnorm.py.
//
// Forward and backward are two kernels each: one that leaves a part of the sums for each run of rows, and one whose
// blocks merge the parts of their channels (the same ones in the same order everywhere) and then go over the numbers. A
// convolution's block (convblock.py) without a pool is these kernels too, with an activation: `kind`, and its output z.

// -- the sums ---------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(TILE_THREADS) batchnorm_moments(
    real* parts, const real* x, Size width, Size rows, Size M, Size C) {
    if (in_packs(C, x)) write_moments(parts, x, Tile<WIDEST>(width, rows, M, C), C);
    else write_moments(parts, x, Tile<1>(width, rows, M, C), C);
}

template <int V> struct Rows {  // g = dz f'(z) and xhat
    const real *dz, *z, *x;
    Standard<V> standard;
    int kind;
    real alpha;
    Size c, C;
    struct Read { Pack<V> dz, z, x; };
    __device__ __forceinline__ void first(Read& row, Size r) const {
        row.dz = load<V>(dz + r * C + c);
        row.x = load<V>(x + r * C + c);
        if (kind != LINEAR) row.z = load<V>(z + r * C + c);
    }
    __device__ __forceinline__ void second(Read&, Size) const {}
    __device__ __forceinline__ void compute(Pack<V>& g, Pack<V>& xhat, const Read& row) const {
        g = row.dz;
        xhat = row.x;
        activate_pack_backward(g, row.z, kind, alpha);
        standard.apply(xhat);
    }
};

template <int V>
__device__ __forceinline__ void sums(
    real* parts, const real* dz, const real* z, const real* x, const real* mean, const real* rstd, int kind, real alpha,
    Tile<V> tile, Size C) {
    Rows<V> source = {dz, z, x, Standard<V>(mean, rstd, tile), kind, alpha, tile.c, C};
    write_sums(parts, source, tile, C);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) batchnorm_sums(
    real* parts, const real* dz, const real* z, const real* x, const real* mean, const real* rstd, Size kind,
    double alpha, Size width, Size rows, Size M, Size C) {
    if (in_packs(C, dz, z, x))
        sums(parts, dz, z, x, mean, rstd, (int)kind, (real)alpha, Tile<WIDEST>(width, rows, M, C), C);
    else
        sums(parts, dz, z, x, mean, rstd, (int)kind, (real)alpha, Tile<1>(width, rows, M, C), C);
}

// -- the numbers ------------------------------------------------------------------------------------------------------

template <int V>
__device__ __forceinline__ void normalize(
    real* y, const real* x, const Norm<V>& norm, int kind, real alpha, const Tile<V>& tile, Size C) {
    if (!tile.there) return;
    for (Size r = tile.first + tile.row; r < tile.last; r += AT_ONCE * tile.rows) {
        Pack<V> p[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (r + i * tile.rows < tile.last) p[i] = load<V>(x + (r + i * tile.rows) * C + tile.c);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (r + i * tile.rows < tile.last) {
                norm.apply(p[i]);
                activate_pack(p[i], kind, alpha);
                store(y + (r + i * tile.rows) * C + tile.c, p[i]);
            }
    }
}

template <int V>
__device__ __forceinline__ void forward(
    real* y, real* mean, real* variance, real* rstd, const real* x, const real* gamma, const real* beta,
    const real* parts, Size runs, Size part_rows, double epsilon, int kind, real alpha, Tile<V> tile, Size M, Size C) {
    Norm<V> norm = batch_norm_of(mean, variance, rstd, x, gamma, beta, parts, runs, part_rows, epsilon, tile, M, C);
    normalize(y, x, norm, kind, alpha, tile, C);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) batchnorm_forward(
    real* y, real* mean, real* variance, real* rstd, const real* x, const real* gamma, const real* beta,
    const real* parts, Size runs, Size part_rows, double epsilon, Size kind, double alpha, Size width, Size rows,
    Size M, Size C) {
    if (in_packs(C, y, x))
        forward(y, mean, variance, rstd, x, gamma, beta, parts, runs, part_rows, epsilon, (int)kind, (real)alpha,
                Tile<WIDEST>(width, rows, M, C), M, C);
    else
        forward(y, mean, variance, rstd, x, gamma, beta, parts, runs, part_rows, epsilon, (int)kind, (real)alpha,
                Tile<1>(width, rows, M, C), M, C);
}

template <int V>
__device__ __forceinline__ void inference(
    real* y, const real* x, const real* mean, const real* variance, const real* gamma, const real* beta, real epsilon,
    Tile<V> tile, Size C) {
    if (!tile.there) return;
    Norm<V> norm = {};
    for (int v = 0; v < V; v++) {
        Size c = tile.c + v;
        real r = 1 / sqrt(variance[c] + epsilon);
        norm.mean[v] = mean[c];
        norm.scale[v] = gamma ? gamma[c] * r : r;
        norm.shift[v] = beta ? beta[c] : real(0);
    }
    normalize(y, x, norm, LINEAR, 0, tile, C);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) batchnorm_inference(
    real* y, const real* x, const real* mean, const real* variance, const real* gamma, const real* beta, double epsilon,
    Size width, Size rows, Size M, Size C) {
    if (in_packs(C, y, x))
        inference(y, x, mean, variance, gamma, beta, (real)epsilon, Tile<WIDEST>(width, rows, M, C), C);
    else
        inference(y, x, mean, variance, gamma, beta, (real)epsilon, Tile<1>(width, rows, M, C), C);
}

template <int V>
__device__ __forceinline__ void backward(
    real* dx, real* dgamma, real* dbeta, const real* dz, const real* z, const real* x, const real* mean,
    const real* rstd, const real* gamma, const real* parts, Size runs, bool given, int kind, real alpha, Tile<V> tile,
    Size M, Size C) {
    Sums<V> all = merged_sums(parts, runs, tile, C);
    if (blockIdx.y == 0) write_gradients(dgamma, dbeta, all, tile);
    if (!dx || !tile.there) return;
    NormGradient<V> norm(mean, rstd, gamma, all, tile, M);
    for (Size r = tile.first + tile.row; r < tile.last; r += AT_ONCE * tile.rows) {
        Pack<V> g[AT_ONCE], p[AT_ONCE] = {}, f[AT_ONCE] = {};
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (r + i * tile.rows < tile.last) {
                Size at = (r + i * tile.rows) * C + tile.c;
                g[i] = load<V>(dz + at);
                if (!given) p[i] = load<V>(x + at);
                if (kind != LINEAR) f[i] = load<V>(z + at);
            }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (r + i * tile.rows < tile.last) {
                activate_pack_backward(g[i], f[i], kind, alpha);
                if (given) norm.apply_given(g[i]);
                else norm.apply(g[i], p[i]);
                store(dx + (r + i * tile.rows) * C + tile.c, g[i]);
            }
    }
}

// given: mean and rstd are constants. dx may be dz.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) batchnorm_backward(
    const real* dz, real* dx, real* dgamma, real* dbeta, const real* z, const real* x, const real* mean,
    const real* rstd, const real* gamma, const real* parts, Size runs, Size given, Size kind, double alpha, Size width,
    Size rows, Size M, Size C) {
    if (in_packs(C, dx, dz, z, x))
        backward(dx, dgamma, dbeta, dz, z, x, mean, rstd, gamma, parts, runs, given != 0, (int)kind, (real)alpha,
                 Tile<WIDEST>(width, rows, M, C), M, C);
    else
        backward(dx, dgamma, dbeta, dz, z, x, mean, rstd, gamma, parts, runs, given != 0, (int)kind, (real)alpha,
                 Tile<1>(width, rows, M, C), M, C);
}

// -- running statistics -----------------------------------------------------------------------------------------------

// scale: one number or null; where it is 0 the optimizer skipped the step.
extern "C" __global__ void batchnorm_update(
    real* moving, const real* batch, const double* scale, double momentum, Size n) {
    if (scale && *scale == 0) return;
    EACH(c, n) {
        real b = batch[c];
        if (isfinite(b)) moving[c] = (real)momentum * moving[c] + (real)(1 - momentum) * b;
    }
}
