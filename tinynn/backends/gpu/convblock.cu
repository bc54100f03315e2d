// What follows a convolution, where there is a norm and a pool: z = f(max pool(norm(y))), y (N, H, W, C) what the
// convolution gave, z (N, OH, OW, C). Its other forms are kernels of batchnorm.cu and of pool2d.cu.
//
// Forward reads y once (its moments are there, in parts) and writes z and the places of the largest. Backward first
// sums over the outputs: only a window's largest has a gradient. Then each number of y looks at the windows it is in.

template <int V>
__device__ __forceinline__ void forward(
    real* z, const Places& places, real* mean, real* variance, real* rstd, const real* y, const real* gamma,
    const real* beta, const real* parts, Size runs, Size part_rows, double epsilon, int kind, real alpha,
    const Pool& pool, Tile<V> tile, Size M, Size C) {
    Norm<V> norm = batch_norm_of(mean, variance, rstd, y, gamma, beta, parts, runs, part_rows, epsilon, tile, M, C);
    if (!tile.there) return;
    Pixels pixels(tile.first, pool.OH, pool.OW);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows) {
        int k[V];
        Pack<V> best = largest<V>(k, pool, pixels.at(r), y + tile.c, C, [&](Pack<V>& p) { norm.apply(p); });
        activate_pack(best, kind, alpha);
        store(z + r * C + tile.c, best);
        places.write(r * C + tile.c, k);
    }
}

// M = N H W rows of y, outputs = N OH OW of z
extern "C" __global__ void __launch_bounds__(TILE_THREADS) convblock_forward(
    real* z, unsigned char* bytes, int* ints, real* mean, real* variance, real* rstd, const real* y, const real* gamma,
    const real* beta, const real* parts, Size runs, Size part_rows, double epsilon, Size kind, double alpha,
    POOL_ARGUMENTS, Size width, Size rows, Size M, Size outputs, Size C) {
    Places places = {bytes, ints};
    if (in_packs(C, z, y) && in_packs(C, bytes))
        forward(z, places, mean, variance, rstd, y, gamma, beta, parts, runs, part_rows, epsilon, (int)kind,
                (real)alpha, POOL, Tile<WIDEST>(width, rows, outputs, C), M, C);
    else
        forward(z, places, mean, variance, rstd, y, gamma, beta, parts, runs, part_rows, epsilon, (int)kind,
                (real)alpha, POOL, Tile<1>(width, rows, outputs, C), M, C);
}

template <int V> struct Outputs {  // g = dz f'(z), and xhat of the number that was the largest
    const real *dz, *z, *y;
    const Places& places;
    const Pool& pool;
    const Pixels& pixels;
    const Standard<V>& standard;
    float inverse;  // of KW
    int kind;
    real alpha;
    Size c, C;
    // a of k = a KW + b, without a division: windows have fewer than 2^22 rows
    __device__ __forceinline__ int row_of(int k) const {
        int a = (int)((float)k * inverse), b = k - a * pool.KW;
        return a + (b >= pool.KW) - (b < 0);
    }

    struct Read { Pack<V> dz, z, y; int k[V]; };
    __device__ __forceinline__ void first(Read& row, Size r) const {
        Size here = r * C + c;
        places.read(here, row.k);
        row.dz = load<V>(dz + here);
        if (kind != LINEAR) row.z = load<V>(z + here);
    }
    __device__ __forceinline__ void second(Read& row, Size r) const {
        Pixel at = pixels.at(r);
        const real* image = y + at.n * pool.H * pool.W * C + c;
        int above = at.i * pool.SH - pool.top, before = at.j * pool.SW - pool.left;
        for (int v = 0; v < V; v++) {
            int a = row_of(row.k[v]), b = row.k[v] - a * pool.KW;
            int h = above + a * pool.DH, w = before + b * pool.DW;
            bool inside = (unsigned)h < (unsigned)pool.H && (unsigned)w < (unsigned)pool.W;
            if (inside) row.y[v] = image[((Size)h * pool.W + w) * C + v];
            else row.dz[v] = 0;  // a window of nothing but padding has no largest
        }
    }
    __device__ __forceinline__ void compute(Pack<V>& g, Pack<V>& xhat, const Read& row) const {
        g = row.dz;
        xhat = row.y;
        activate_pack_backward(g, row.z, kind, alpha);
        standard.apply(xhat);
    }
};

template <int V>
__device__ __forceinline__ void sums(
    real* parts, const real* dz, const real* z, const Places& places, const real* y, const real* mean, const real* rstd,
    int kind, real alpha, const Pool& pool, Tile<V> tile, Size C) {
    Standard<V> standard(mean, rstd, tile);
    Pixels pixels(tile.first, pool.OH, pool.OW);
    Outputs<V> source = {dz, z, y, places, pool, pixels, standard, 1.0f / pool.KW, kind, alpha, tile.c, C};
    write_sums(parts, source, tile, C);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) convblock_sums(
    real* parts, const real* dz, const real* z, unsigned char* bytes, int* ints, const real* y, const real* mean,
    const real* rstd, Size kind, double alpha, POOL_ARGUMENTS, Size width, Size rows, Size outputs, Size C) {
    Places places = {bytes, ints};
    if (in_packs(C, dz, z) && in_packs(C, bytes))
        sums(parts, dz, z, places, y, mean, rstd, (int)kind, (real)alpha, POOL,
             Tile<WIDEST>(width, rows, outputs, C), C);
    else
        sums(parts, dz, z, places, y, mean, rstd, (int)kind, (real)alpha, POOL, Tile<1>(width, rows, outputs, C), C);
}

template <int V>
__device__ __forceinline__ void backward(
    real* dy, real* dgamma, real* dbeta, const real* dz, const real* z, const Places& places, const real* y,
    const real* mean, const real* rstd, const real* gamma, const real* parts, Size runs, int kind, real alpha,
    const Pool& pool, Tile<V> tile, Size M, Size C) {
    Sums<V> all = merged_sums(parts, runs, tile, C);
    if (blockIdx.y == 0) write_gradients(dgamma, dbeta, all, tile);
    if (!tile.there) return;
    NormGradient<V> norm(mean, rstd, gamma, all, tile, M);
    Pixels pixels(tile.first, pool.H, pool.W);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows) {
        Pack<V> p = load<V>(y + r * C + tile.c);
        Pack<V> g = gathered<V>(pool, pixels.at(r), dz, z, places, kind, alpha, tile.c, C);
        norm.apply(g, p);
        store(dy + r * C + tile.c, g);
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) convblock_backward(
    real* dy, real* dgamma, real* dbeta, const real* dz, const real* z, unsigned char* bytes, int* ints, const real* y,
    const real* mean, const real* rstd, const real* gamma, const real* parts, Size runs, Size kind, double alpha,
    POOL_ARGUMENTS, Size width, Size rows, Size M, Size C) {
    Places places = {bytes, ints};
    if (in_packs(C, dy, dz, z, y) && in_packs(C, bytes))
        backward(dy, dgamma, dbeta, dz, z, places, y, mean, rstd, gamma, parts, runs, (int)kind, (real)alpha, POOL,
                 Tile<WIDEST>(width, rows, M, C), M, C);
    else
        backward(dy, dgamma, dbeta, dz, z, places, y, mean, rstd, gamma, parts, runs, (int)kind, (real)alpha, POOL,
                 Tile<1>(width, rows, M, C), M, C);
}
