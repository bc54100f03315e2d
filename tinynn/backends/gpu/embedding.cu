// Rows of a table W (V, D) by ids (M,), and the table's gradient: dW[v] = the sum of dy[m] over ids[m] == v, in the
// order of m. Without atomics: the places m are sorted by their ids (stably, so that equal ids keep the order of m),
// and whoever finds the first of a run of equal ids adds up the run.
//
// The sort is a radix sort of 8 bits a pass, from the lowest: a pass counts the digits of each tile of 4096 places
// (`count_digits`, left out where there is one tile), and then every place knows where it goes (`sort_digits`). It is
// ours because CuPy's sort waits for the card in some of its versions, which a recorded step may not.

constexpr int DIGITS = 256, WARPS = 8, STEPS = 16, TILE = WARPS * STEPS * WARP_SIZE;  // blocks of 256 threads

template <class T> __device__ void copy_rows(T* y, const T* W, const int* ids, Size M, Size columns, int across) {
    int down = blockDim.x / across, column = threadIdx.x % across;
    for (Size m = (Size)blockIdx.x * down + threadIdx.x / across; m < M; m += (Size)gridDim.x * down) {
        const T* from = W + ids[m] * columns;
        for (Size c = column; c < columns; c += across) y[m * columns + c] = from[c];
    }
}

// y[m] = W[ids[m]]: `across` threads, a power of two, copy a row, in pieces of 16 bytes where that is possible.
extern "C" __global__ void gather(real* y, const real* W, const int* ids, Size M, Size D, Size across) {
    if (D % WIDEST == 0 && aligned<WIDEST>(y, W)) {
        using Piece = Pack<WIDEST>;
        copy_rows((Piece*)y, (const Piece*)W, ids, M, D / WIDEST, (int)across);
    } else {
        copy_rows(y, W, ids, M, D, (int)across);
    }
}

// -- sorting ----------------------------------------------------------------------------------------------------------

// A tile belongs to its warps in contiguous parts, each of them 32 places a step. For the thread's places: digits[s],
// -1 behind the end, and before[s], how many of the same digit stand before it in its warp's part. counts[w][d]: how
// many digits d warp w has. order: the places as sorted so far, null for 0, 1, 2, ...
__device__ __forceinline__ Size place_of(int s, Size M) {
    Size at = (Size)blockIdx.x * TILE + (warp_index() * STEPS + s) * WARP_SIZE + lane_index();
    return at < M ? at : -1;
}

__device__ void count_tile(
    int counts[WARPS][DIGITS], int digits[STEPS], int before[STEPS], const int* ids, const Size* order, Size M,
    int shift) {
    int w = warp_index();
    for (int d = lane_index(); d < DIGITS; d += WARP_SIZE) counts[w][d] = 0;
    __syncwarp();
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
        Size at = place_of(s, M);
        digits[s] = at < 0 ? -1 : (int)((unsigned)ids[order ? order[at] : at] >> shift) % DIGITS;
    }
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
        unsigned equal = __match_any_sync(ALL_LANES, digits[s]);
        int earlier = __popc(equal & ((1u << lane_index()) - 1));
        int so_far = digits[s] < 0 ? 0 : counts[w][digits[s]];
        __syncwarp();
        if (earlier == 0 && digits[s] >= 0) counts[w][digits[s]] = so_far + __popc(equal);
        __syncwarp();
        before[s] = so_far + earlier;
    }
    __syncthreads();
}

// of_tiles[tile, d] = how often digit d occurs. The first argument only says for which floats this is compiled.
extern "C" __global__ void count_digits(
    const real*, int* of_tiles, const int* ids, const Size* order, Size M, Size shift) {
    __shared__ int counts[WARPS][DIGITS];
    int digits[STEPS], before[STEPS], d = threadIdx.x, total = 0;
    count_tile(counts, digits, before, ids, order, M, (int)shift);
    for (int w = 0; w < WARPS; w++) total += counts[w][d];
    of_tiles[(Size)blockIdx.x * DIGITS + d] = total;
}

// The sum of the values of all threads before this one. All threads call it, once.
__device__ Size sum_before(Size value) {
    __shared__ Size of_warp[WARPS];
    Size sum = value;
    for (int step = 1; step < WARP_SIZE; step *= 2) {
        Size other = __shfl_up_sync(ALL_LANES, sum, step);
        if (lane_index() >= step) sum += other;
    }
    if (lane_index() == WARP_SIZE - 1) of_warp[warp_index()] = sum;
    __syncthreads();
    for (int w = 0; w < warp_index(); w++) sum += of_warp[w];
    return sum - value;
}

// sorted = order, stably by one digit of ids[order]. of_tiles may be null where there is one tile. Every block reads
// all counts, 1 KB a tile, which spares a launch: 2 MB in all for 200 000 places, 60 MB for a million.
extern "C" __global__ void sort_digits(
    const real*, Size* sorted, const Size* order, const int* ids, const int* of_tiles, Size M, Size shift) {
    __shared__ int counts[WARPS][DIGITS];
    __shared__ Size starts[WARPS][DIGITS];
    int digits[STEPS], before[STEPS], d = threadIdx.x;
    count_tile(counts, digits, before, ids, order, M, (int)shift);
    Size total = 0, earlier = 0;  // of digit d: in all tiles, in those before this one
    if (of_tiles)
        for (Size tile = 0; tile < gridDim.x; tile++) {
            if (tile == blockIdx.x) earlier = total;
            total += of_tiles[tile * DIGITS + d];
        }
    else
        for (int w = 0; w < WARPS; w++) total += counts[w][d];
    Size start = sum_before(total) + earlier;
    for (int w = 0; w < WARPS; w++) {
        starts[w][d] = start;
        start += counts[w][d];
    }
    __syncthreads();
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
        Size at = place_of(s, M);
        if (at >= 0) sorted[starts[warp_index()][digits[s]] + before[s]] = order ? order[at] : at;
    }
}

// -- adding -----------------------------------------------------------------------------------------------------------

constexpr int PLACES = 8, GROUP = 4;  // of a warp; strips of 32 columns that a short run has on their way at once

// One run of less than 32 places, which begins at place p: all columns.
__device__ void add_short_run(
    real* dW, const real* dy, const int* ids, const Size* order, Size p, Size M, Size D) {
    Size at = p + lane_index(), m = at < M ? order[at] : -1;
    int its = m < 0 ? -1 : ids[m], id = __shfl_sync(ALL_LANES, its, 0);
    int n = __popc(__ballot_sync(ALL_LANES, its == id));  // in a row: ids are sorted
    for (Size start = lane_index(); start < D + lane_index(); start += GROUP * WARP_SIZE) {
        real total[GROUP] = {};
        for (int k = 0; k < n; k++) {
            const real* row = dy + __shfl_sync(ALL_LANES, m, k) * D;
#pragma unroll
            for (int j = 0; j < GROUP; j++)
                if (start + j * WARP_SIZE < D) total[j] += row[start + j * WARP_SIZE];
        }
#pragma unroll
        for (int j = 0; j < GROUP; j++)
            if (start + j * WARP_SIZE < D) dW[id * D + start + j * WARP_SIZE] = total[j];
    }
}

// One run of 32 places or more: 32 columns from c - lane on. The rows of 32 places are on their way at once, and with
// them the next places.
__device__ void add_long_run(
    real* dW, const real* dy, const int* ids, const Size* order, Size p, Size c, Size M, Size D) {
    Size at = p + lane_index(), m = order[at];
    int id = __shfl_sync(ALL_LANES, ids[m], 0), n = WARP_SIZE;
    bool mine = c < D;
    real total = 0;
    while (n == WARP_SIZE) {
        at += WARP_SIZE;
        Size next = at < M ? order[at] : -1;
        real rows[WARP_SIZE];
#pragma unroll
        for (int k = 0; k < WARP_SIZE; k++) {
            Size row = __shfl_sync(ALL_LANES, m, k);
            rows[k] = mine ? dy[row * D + c] : real(0);
        }
        bool same = next >= 0 && ids[next] == id;
#pragma unroll
        for (int k = 0; k < WARP_SIZE; k++) total += rows[k];
        m = next;
        n = __popc(__ballot_sync(ALL_LANES, same));
    }
#pragma unroll 4
    for (int k = 0; k < n; k++) {
        Size row = __shfl_sync(ALL_LANES, m, k);
        if (mine) total += dy[row * D + c];
    }
    if (mine) dW[id * D + c] = total;
}

// A warp has 8 places of the order, and adds up the runs that begin there. Short ones are the work of the first warps,
// blockIdx.y = 0; a long one, a frequent word, is spread over warps of 32 columns each. These wait for memory once for
// 32 rows: some 0.5 us, so 0.15 ms for 10 000 of them.
extern "C" __global__ void add_runs(
    real* dW, const real* dy, const int* ids, const Size* order, Size M, Size D) {
    Size first = ((Size)blockIdx.x * WARPS + warp_index()) * PLACES, p = first + lane_index();
    bool begins = false, goes_on = false;
    if (lane_index() < PLACES && p < M) {
        int id = ids[order[p]];
        begins = p == 0 || ids[order[p - 1]] != id;
        goes_on = begins && p + WARP_SIZE <= M && ids[order[p + WARP_SIZE - 1]] == id;
    }
    unsigned all = __ballot_sync(ALL_LANES, begins), longer = __ballot_sync(ALL_LANES, goes_on);
    if (blockIdx.y == 0)
        for (unsigned rest = all & ~longer; rest; rest &= rest - 1)
            add_short_run(dW, dy, ids, order, first + __ffs(rest) - 1, M, D);
    for (unsigned rest = longer; rest; rest &= rest - 1)
        for (Size c = (Size)blockIdx.y * WARP_SIZE + lane_index(); c < D + lane_index(); c += gridDim.y * WARP_SIZE)
            add_long_run(dW, dy, ids, order, first + __ffs(rest) - 1, c, M, D);
}
