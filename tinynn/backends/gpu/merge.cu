// The end of a residual block, y = max(a + b, 0), and its gradients: four numbers per thread and step.

template <int W> __device__ void relu_sum_by(real* y, const real* a, const real* b, Size n) {
    EACH(i, n / W) {
        Pack<real, W> p = load_pack<W>(a + i * W), q = load_pack<W>(b + i * W);
        for (int k = 0; k < W; k++) p.v[k] = activate(RELU, p.v[k] + q.v[k], 0);
        store_pack<W>(y + i * W, p);
    }
}

extern "C" __global__ void relu_sum(real* y, const real* a, const real* b, Size n) {
    Size packed = aligned<4>(y) && aligned<4>(a) && aligned<4>(b) ? n - n % 4 : 0;
    relu_sum_by<4>(y, a, b, packed);
    relu_sum_by<1>(y + packed, a + packed, b + packed, n - packed);
}

// da or db may be null; da may be dy.
template <int W> __device__ void relu_sum_backward_by(real* da, real* db, const real* dy, const real* y, Size n) {
    EACH(i, n / W) {
        Pack<real, W> g = load_pack<W>(dy + i * W), f = load_pack<W>(y + i * W);
        for (int k = 0; k < W; k++) g.v[k] = activate_backward(RELU, g.v[k], 0, f.v[k], 0);
        if (da) store_pack<W>(da + i * W, g);
        if (db) store_pack<W>(db + i * W, g);
    }
}

extern "C" __global__ void relu_sum_backward(real* da, real* db, const real* dy, const real* y, Size n) {
    bool all = aligned<4>(da) && aligned<4>(db) && aligned<4>(dy) && aligned<4>(y);
    Size packed = all ? n - n % 4 : 0;
    relu_sum_backward_by<4>(da, db, dy, y, packed);
    relu_sum_backward_by<1>(da ? da + packed : da, db ? db + packed : db, dy + packed, y + packed, n - packed);
}
