// Sums of columns of x (M, C), tile by tile (channels.cuh); with y, x becomes x f'(y) in place first, in the same pass.
//
// A thread goes down its columns, with several rows under way together, which are added first, then to the rest:
// shorter sums round less. Then the block's threads of the same columns are added as a tree. Every run of rows leaves
// its sums; a second launch adds those up, see columns.py.

template <int KIND, int V, int N>
__device__ __forceinline__ void slopes(Pack<V> (&x)[N], const Pack<V> (&y)[N], real alpha) {
#pragma unroll
    for (int i = 0; i < N; i++)
        for (int v = 0; v < V; v++) x[i][v] = activate_backward(KIND, x[i][v], real(0), y[i][v], alpha);
}

// x = x f'(y) for the kinds of columns.py; one branch for all numbers.
template <int V, int N>
__device__ __forceinline__ void slopes(Pack<V> (&x)[N], const Pack<V> (&y)[N], int kind, real alpha) {
    switch (kind) {
        case RELU: return slopes<RELU>(x, y, alpha);
        case LEAKY_RELU: return slopes<LEAKY_RELU>(x, y, alpha);
        case SIGMOID: return slopes<SIGMOID>(x, y, alpha);
        case TANH: return slopes<TANH>(x, y, alpha);
    }
}

template <int V>
__device__ __forceinline__ void add_rows(
    real* sums, real* x, const real* y, int kind, real alpha, const Tile<V>& tile, Size C) {
    constexpr int AHEAD = V == 1 ? 8 : 4;
    Totals<V> all;
    if (tile.there) {
        Size down = tile.rows * C, at = (tile.first + tile.row) * C + tile.c;
        for (Size left = tile.last - tile.first - tile.row; left > 0; left -= AHEAD * tile.rows, at += AHEAD * down) {
            Pack<V> g[AHEAD] = {}, f[AHEAD] = {};
#pragma unroll
            for (int i = 0; i < AHEAD; i++)
                if (i * tile.rows < left) {
                    g[i] = load<V>(x + at + i * down);
                    if (y) f[i] = load<V>(y + at + i * down);
                }
            if (y) {
                slopes(g, f, kind, alpha);
#pragma unroll
                for (int i = 0; i < AHEAD; i++)
                    if (i * tile.rows < left) store(x + at + i * down, g[i]);
            }
            Totals<V> some;
#pragma unroll
            for (int i = 0; i < AHEAD; i++)  // beyond the last row stand zeros
                for (int v = 0; v < V; v++) some.at[v] += g[i][v];
            all.merge(some);
        }
    }
    all = over_block(all, tile);
    if (tile.row == 0 && tile.there)
        for (int v = 0; v < V; v++) sums[blockIdx.y * C + tile.c + v] = all.at[v];
}

// sums (runs, C). y may be null: then x stays. Whether columns are read in packs follows from their number alone (x and
// y begin at 16 bytes), and so does the order of the sums.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) column_sums(
    real* sums, real* x, const real* y, Size kind, double alpha, Size width, Size rows, Size M, Size C) {
    if (C % WIDEST == 0) add_rows(sums, x, y, (int)kind, (real)alpha, Tile<WIDEST>(width, rows, M, C), C);
    else add_rows(sums, x, y, (int)kind, (real)alpha, Tile<1>(width, rows, M, C), C);
}
