// What stands around the matrix products of a dense layer, which are cuBLAS's (dense.py).
//
// bias_activation: y = f(y + b) in place, one pass. column_sums: dz = dy f'(y) in place and db = its column sums, one
// pass: a block has `width` columns (a power of two up to 32) and some rows; its threads stand in rows of `width`, so
// that neighbours read neighbours. Each adds up every so-many-th row; then the threads of a column are added as a tree.

// y (.., O) of n elements; b (O,) or null.
template <int W> __device__ void bias_activation_by(real* y, const real* b, int kind, real alpha, Size O, Size n) {
    Size groups = O / W, stride = (Size)gridDim.x * blockDim.x, start = (Size)blockIdx.x * blockDim.x + threadIdx.x;
    Size column = start % groups, step = stride % groups;  // the only divisions of a thread
    for (Size i = start; i < n / W; i += stride) {
        Pack<real, W> z = load_pack<W>(y + i * W);
        if (b) {
            Pack<real, W> bias = load_pack<W>(b + column * W);
            for (int k = 0; k < W; k++) z.v[k] += bias.v[k];
        }
        for (int k = 0; k < W; k++) z.v[k] = activate(kind, z.v[k], alpha);
        store_pack<W>(y + i * W, z);
        column += step;
        if (column >= groups) column -= groups;
    }
}

extern "C" __global__ void bias_activation(real* y, const real* b, Size kind, double alpha, Size O, Size n) {
    if (O % 4 == 0 && aligned<4>(y) && aligned<4>(b))
        bias_activation_by<4>(y, b, (int)kind, (real)alpha, O, n);
    else
        bias_activation_by<1>(y, b, (int)kind, (real)alpha, O, n);
}

constexpr int AHEAD = 8;  // rows that a thread has asked for before it works on the first

// sums[part, c] = the sum over `rows` rows of dz[., c]; dy and y (M, N). blockIdx.x is the strip of columns, blockIdx.y
// the part. y is null for LINEAR, and dy stays.
extern "C" __global__ void column_sums(
    real* sums, real* dy, const real* y, Size kind, double alpha, Size rows, Size M, Size N, Size width) {
    __shared__ real totals[256];
    int across = (int)width, down = blockDim.x / across, t = threadIdx.x;
    Size c = (Size)blockIdx.x * across + t % across;
    Size first = blockIdx.y * rows, last = first + rows < M ? first + rows : M;
    real total = 0;
    if (c < N)
        for (Size m = first + t / across; m < last; m += AHEAD * down) {
            real g[AHEAD], f[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++) {
                Size row = m + k * down;
                g[k] = row < last ? dy[row * N + c] : real(0);
                f[k] = y && row < last ? y[row * N + c] : real(0);
            }
#pragma unroll
            for (int k = 0; k < AHEAD; k++) {
                Size row = m + k * down;
                if (row >= last) break;
                if (y) dy[row * N + c] = g[k] = activate_backward((int)kind, g[k], real(0), f[k], (real)alpha);
                total += g[k];
            }
        }
    totals[t] = total;
    for (int half = blockDim.x / 2; half >= across; half /= 2) {
        __syncthreads();
        if (t < half) totals[t] += totals[t + half];
    }
    if (t < across && c < N) sums[blockIdx.y * N + c] = totals[t];
}
