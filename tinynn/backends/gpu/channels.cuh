// Arrays whose channels stand last, as rows of C channels: a batch of images has a row for each pixel.
//
// A block of threads has a tile: `width` channels (a power of two, at most 32: of floats a line of the cache) of a run
// of rows. Neighbouring threads have neighbouring channels, V at a time, and then the next row, so that a warp reads
// whole lines; a thread keeps its channels and goes down the rows. The grid, (tiles of channels, runs of rows), is that
// of channels.py. Needs packs.cuh and activations.cuh.

constexpr int TILE_THREADS = 256;  // of a block, at most
constexpr int AT_ONCE = 4;         // rows whose loads are under way together

// Whether rows of C numbers can be read in packs: all of these arrays (or null) begin at a multiple of 16 bytes.
template <class... P> __device__ __forceinline__ bool in_packs(Size C, const P*... arrays) {
    return C % WIDEST == 0 && aligned<WIDEST>(arrays...);
}

template <int V> struct Tile {
    int lane, lanes, row, rows;  // this thread's, and how many the block has
    Size c, first, last;         // this thread's first channel; the block's rows
    bool there;                  // whether there is such a channel

    __device__ __forceinline__ Tile(Size tile, Size run, Size width, Size rows_of_run, Size M, Size C) {
        lanes = (int)width / V;
        rows = (int)blockDim.x / lanes;
        lane = threadIdx.x % lanes;
        row = threadIdx.x / lanes;
        c = tile * width + lane * V;
        there = c < C;
        first = run * rows_of_run;
        last = min(first + rows_of_run, M);
    }
    __device__ __forceinline__ Tile(Size width, Size rows_of_run, Size M, Size C)
        : Tile(blockIdx.x, blockIdx.y, width, rows_of_run, M, C) {}
};

// N sums. A thread's own begin at zero.
template <int N> struct Totals {
    static constexpr int SIZE = N;
    real at[N] = {};
    __device__ __forceinline__ void merge(const Totals& other) {
        for (int i = 0; i < N; i++) at[i] += other.at[i];
    }
};

// What the block's threads of the same channels hold, merged in a tree; in each of them. All threads call it.
template <class T, int V> __device__ T over_block(T mine, const Tile<V>& tile) {
    __shared__ real held[T::SIZE][TILE_THREADS];
    auto put = [&] { for (int i = 0; i < T::SIZE; i++) held[i][threadIdx.x] = mine.at[i]; };
    auto get = [&](int thread) {
        T other;
        for (int i = 0; i < T::SIZE; i++) other.at[i] = held[i][thread];
        return other;
    };
    put();
    for (int step = tile.rows / 2; step > 0; step /= 2) {
        __syncthreads();
        if (tile.row < step) {
            mine.merge(get(threadIdx.x + step * tile.lanes));
            put();
        }
    }
    __syncthreads();
    return get(tile.lane);
}

// y = f(x) for the kinds that convolutions fuse (FUSED in activation.py); one branch for a whole pack.
template <int V> __device__ __forceinline__ void activate_pack(Pack<V>& x, int kind, real alpha) {
    if (kind == LINEAR) return;
    if (kind == RELU) {
        for (int v = 0; v < V; v++) x[v] = activate(RELU, x[v], alpha);
    } else if (kind == LEAKY_RELU) {
        for (int v = 0; v < V; v++) x[v] = activate(LEAKY_RELU, x[v], alpha);
    } else {
        for (int v = 0; v < V; v++) x[v] = activate(TANH, x[v], alpha);
    }
}

// dy = dy f'(x), by y
template <int V>
__device__ __forceinline__ void activate_pack_backward(Pack<V>& dy, const Pack<V>& y, int kind, real alpha) {
    if (kind == LINEAR) return;
    if (kind == RELU) {
        for (int v = 0; v < V; v++) dy[v] = activate_backward(RELU, dy[v], 0, y[v], alpha);
    } else if (kind == LEAKY_RELU) {
        for (int v = 0; v < V; v++) dy[v] = activate_backward(LEAKY_RELU, dy[v], 0, y[v], alpha);
    } else {
        for (int v = 0; v < V; v++) dy[v] = activate_backward(TANH, dy[v], 0, y[v], alpha);
    }
}
