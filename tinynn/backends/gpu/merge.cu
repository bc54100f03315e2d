// The end of a residual block, y = max(a + b, 0), and its gradients: four numbers per thread and step.

template <int W> __device__ void relu_sum_by(real* y, const real* a, const real* b, Size n) {
    EACH(i, n / W) {
        Pack<W> p = load<W>(a + i * W), q = load<W>(b + i * W);
        for (int k = 0; k < W; k++) p[k] = activate(RELU, p[k] + q[k], 0);
        store(y + i * W, p);
    }
}

extern "C" __global__ void relu_sum(real* y, const real* a, const real* b, Size n) {
    Size packed = aligned<4>(y, a, b) ? n - n % 4 : 0;
    relu_sum_by<4>(y, a, b, packed);
    relu_sum_by<1>(y + packed, a + packed, b + packed, n - packed);
}

// da or db may be null; da may be dy.
template <int W> __device__ void relu_sum_backward_by(real* da, real* db, const real* dy, const real* y, Size n) {
    EACH(i, n / W) {
        Pack<W> g = load<W>(dy + i * W), f = load<W>(y + i * W);
        for (int k = 0; k < W; k++) g[k] = activate_backward(RELU, g[k], 0, f[k], 0);
        if (da) store(da + i * W, g);
        if (db) store(db + i * W, g);
    }
}

extern "C" __global__ void relu_sum_backward(real* da, real* db, const real* dy, const real* y, Size n) {
    bool all = aligned<4>(da, db, dy, y);
    Size packed = all ? n - n % 4 : 0;
    relu_sum_backward_by<4>(da, db, dy, y, packed);
    relu_sum_backward_by<1>(da ? da + packed : da, db ? db + packed : db, dy + packed, y + packed, n - packed);
}
