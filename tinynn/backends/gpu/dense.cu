// What follows the matrix product of a dense layer, which is cuBLAS's (dense.py): y = f(y + b) in place, one pass.

// y (.., O) of n elements; b (O,) or null.
template <int W> __device__ void bias_activation_by(real* y, const real* b, int kind, real alpha, Size O, Size n) {
    Size groups = O / W, stride = (Size)gridDim.x * blockDim.x, start = (Size)blockIdx.x * blockDim.x + threadIdx.x;
    Size column = start % groups, step = stride % groups;  // the only divisions of a thread
    for (Size i = start; i < n / W; i += stride) {
        Pack<W> z = load<W>(y + i * W);
        if (b) {
            Pack<W> bias = load<W>(b + column * W);
            for (int k = 0; k < W; k++) z[k] += bias[k];
        }
        for (int k = 0; k < W; k++) z[k] = activate(kind, z[k], alpha);
        store(y + i * W, z);
        column += step;
        if (column >= groups) column -= groups;
    }
}

extern "C" __global__ void bias_activation(real* y, const real* b, Size kind, double alpha, Size O, Size n) {
    if (O % 4 == 0 && aligned<4>(y, b))
        bias_activation_by<4>(y, b, (int)kind, (real)alpha, O, n);
    else
        bias_activation_by<1>(y, b, (int)kind, (real)alpha, O, n);
}
