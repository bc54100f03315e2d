// Pooling of images x (N, H, W, C) to (N, OH, OW, C). A thread has V channels of an output, and looks at its window; on
// the way back of an input, and looks at the outputs whose window it is in: nothing is added up from two sides. A
// convolution's block without a norm uses the kernels of the largest with an activation, which is applied to it alone.

template <int V>
__device__ __forceinline__ void max_forward(
    real* y, Places places, const real* x, const Pool& pool, int kind, real alpha, Tile<V> tile, Size C) {
    if (!tile.there) return;
    Pixels pixels(tile.first, pool.OH, pool.OW);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows) {
        int k[V];
        Pack<V> best = largest<V>(k, pool, pixels.at(r), x + tile.c, C, [](Pack<V>&) {});
        activate_pack(best, kind, alpha);
        store(y + r * C + tile.c, best);
        places.write(r * C + tile.c, k);
    }
}

// M = N OH OW
extern "C" __global__ void __launch_bounds__(TILE_THREADS) max_pool_forward(
    real* y, unsigned char* bytes, int* ints, const real* x, Size kind, double alpha, POOL_ARGUMENTS, Size width,
    Size rows, Size M, Size C) {
    Places places = {bytes, ints};
    if (in_packs(C, y, x) && in_packs(C, bytes))
        max_forward(y, places, x, POOL, (int)kind, (real)alpha, Tile<WIDEST>(width, rows, M, C), C);
    else
        max_forward(y, places, x, POOL, (int)kind, (real)alpha, Tile<1>(width, rows, M, C), C);
}

template <int V>
__device__ __forceinline__ void max_backward(
    real* dx, const real* dy, const real* y, Places places, const Pool& pool, int kind, real alpha, Tile<V> tile,
    Size C) {
    if (!tile.there) return;
    Pixels pixels(tile.first, pool.H, pool.W);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows)
        store(dx + r * C + tile.c, gathered<V>(pool, pixels.at(r), dy, y, places, kind, alpha, tile.c, C));
}

// M = N H W; y may be null where the activation is linear
extern "C" __global__ void __launch_bounds__(TILE_THREADS) max_pool_backward(
    real* dx, const real* dy, const real* y, unsigned char* bytes, int* ints, Size kind, double alpha, POOL_ARGUMENTS,
    Size width, Size rows, Size M, Size C) {
    Places places = {bytes, ints};
    if (in_packs(C, dx, dy, y) && in_packs(C, bytes))
        max_backward(dx, dy, y, places, POOL, (int)kind, (real)alpha, Tile<WIDEST>(width, rows, M, C), C);
    else
        max_backward(dx, dy, y, places, POOL, (int)kind, (real)alpha, Tile<1>(width, rows, M, C), C);
}

// -- means ------------------------------------------------------------------------------------------------------------

// The sum of a row of the window first, then of the rows: shorter sums round less.
template <int V>
__device__ __forceinline__ void average_forward(real* y, const real* x, const Pool& pool, Tile<V> tile, Size C) {
    if (!tile.there) return;
    Pixels pixels(tile.first, pool.OH, pool.OW);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows) {
        Pixel at = pixels.at(r);
        Met down(at.i, pool.KH, pool.SH, pool.DH, pool.top, pool.H);
        Met across(at.j, pool.KW, pool.SW, pool.DW, pool.left, pool.W);
        const real* corner = x + ((at.n * pool.H + down.start) * pool.W + across.start) * C + tile.c;
        Pack<V> total = {};
        for (int a = down.first; a < down.end; a++) {
            const real* line = corner + (Size)a * pool.DH * pool.W * C;
            Pack<V> sum = {};
            for (int b = across.first; b < across.end; b++) {
                Pack<V> p = load<V>(line + (Size)b * pool.DW * C);
                for (int v = 0; v < V; v++) sum[v] += p[v];
            }
            for (int v = 0; v < V; v++) total[v] += sum[v];
        }
        real inputs = (real)max(down.end - down.first, 0) * (real)max(across.end - across.first, 0);
        for (int v = 0; v < V; v++) total[v] /= inputs;
        store(y + r * C + tile.c, total);
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) average_pool_forward(
    real* y, const real* x, POOL_ARGUMENTS, Size width, Size rows, Size M, Size C) {
    if (in_packs(C, y, x)) average_forward(y, x, POOL, Tile<WIDEST>(width, rows, M, C), C);
    else average_forward(y, x, POOL, Tile<1>(width, rows, M, C), C);
}

template <int V>
__device__ __forceinline__ void average_backward(real* dx, const real* dy, const Pool& pool, Tile<V> tile, Size C) {
    if (!tile.there) return;
    Pixels pixels(tile.first, pool.H, pool.W);
    for (Size r = tile.first + tile.row; r < tile.last; r += tile.rows) {
        Pixel at = pixels.at(r);
        const real* image = dy + at.n * pool.OH * pool.OW * C + tile.c;
        Pack<V> sum = {};
        each_output(pool, at.i, at.j, [&](Size pixel, int, int i, int j) {
            Pack<V> g = load<V>(image + pixel * C);
            Met down(i, pool.KH, pool.SH, pool.DH, pool.top, pool.H);
            Met across(j, pool.KW, pool.SW, pool.DW, pool.left, pool.W);
            real inputs = (real)(down.end - down.first) * (real)(across.end - across.first);
            for (int v = 0; v < V; v++) sum[v] += g[v] / inputs;
        });
        store(dx + r * C + tile.c, sum);
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) average_pool_backward(
    real* dx, const real* dy, POOL_ARGUMENTS, Size width, Size rows, Size M, Size C) {
    if (in_packs(C, dx, dy)) average_backward(dx, dy, POOL, Tile<WIDEST>(width, rows, M, C), C);
    else average_backward(dx, dy, POOL, Tile<1>(width, rows, M, C), C);
}
