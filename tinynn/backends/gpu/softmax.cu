// Softmax and cross-entropies of rows x (N, C), one block of threads per row. The formulas stand in softmax.py.

struct Summary {  // of a row: its largest value, and the sum of exp(x - largest)
    real largest, total;
};

__device__ Summary summary_of(const real* x, Size C) {
    real largest = -INFINITY;
    for (Size c = threadIdx.x; c < C; c += blockDim.x) largest = Larger()(largest, x[c]);
    largest = block_reduce(largest, Larger());
    real total = 0;
    for (Size c = threadIdx.x; c < C; c += blockDim.x) total += exp(x[c] - largest);
    return {largest, block_reduce(total)};
}

extern "C" __global__ void softmax_forward(real* y, const real* x, Size N, Size C) {
    for (Size n = blockIdx.x; n < N; n += gridDim.x) {
        Summary row = summary_of(x + n * C, C);
        for (Size c = threadIdx.x; c < C; c += blockDim.x)
            y[n * C + c] = exp(x[n * C + c] - row.largest) / row.total;
    }
}

extern "C" __global__ void softmax_backward(real* dx, const real* dy, const real* y, Size N, Size C) {
    for (Size n = blockIdx.x; n < N; n += gridDim.x) {
        real inner = 0;
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x) inner += dy[i] * y[i];
        inner = block_reduce(inner);
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x) dx[i] = (dy[i] - inner) * y[i];
    }
}

extern "C" __global__ void cross_entropy(real* rows, real* p, const real* x, const real* target, Size N, Size C) {
    for (Size n = blockIdx.x; n < N; n += gridDim.x) {
        Summary row = summary_of(x + n * C, C);
        real log_total = log(row.total), loss = 0;
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x) {
            real z = x[i] - row.largest;
            p[i] = exp(z) / row.total;
            loss += target[i] * (log_total - z);
        }
        loss = block_reduce(loss);
        if (threadIdx.x == 0) rows[n] = loss;
    }
}

extern "C" __global__ void cross_entropy_backward(
    real* dx, const real* drows, const real* p, const real* target, Size N, Size C) {
    for (Size n = blockIdx.x; n < N; n += gridDim.x) {
        real weight = 0;
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x) weight += target[i];
        weight = block_reduce(weight);
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x)
            dx[i] = drows[n] * (p[i] * weight - target[i]);
    }
}

// Labels are whole numbers of 64 bits; a negative one makes a row of loss 0.
extern "C" __global__ void sparse_cross_entropy(
    real* rows, real* p, const real* x, const long long* labels, Size N, Size C) {
    for (Size n = blockIdx.x; n < N; n += gridDim.x) {
        Summary row = summary_of(x + n * C, C);
        for (Size i = n * C + threadIdx.x; i < (n + 1) * C; i += blockDim.x)
            p[i] = exp(x[i] - row.largest) / row.total;
        if (threadIdx.x == 0) {
            Size label = labels[n];
            rows[n] = label < 0 ? real(0) : log(row.total) - (x[n * C + label] - row.largest);
        }
    }
}

extern "C" __global__ void sparse_cross_entropy_backward(
    real* dx, const real* drows, const real* p, const long long* labels, Size C, Size n_elements) {
    EACH(i, n_elements) {
        Size n = i / C, label = labels[n];
        dx[i] = label < 0 ? real(0) : drows[n] * (p[i] - (i - n * C == label ? real(1) : real(0)));
    }
}

extern "C" __global__ void binary_cross_entropy(real* loss, const real* x, const real* target, Size n) {
    EACH(i, n) loss[i] = fmax(x[i], real(0)) - x[i] * target[i] + log1p(exp(-fabs(x[i])));
}

extern "C" __global__ void binary_cross_entropy_backward(
    real* dx, const real* dloss, const real* x, const real* target, Size n) {
    EACH(i, n) {
        real z = exp(-fabs(x[i]));
        dx[i] = dloss[i] * ((x[i] < 0 ? z : real(1)) / (1 + z) - target[i]);
    }
}
