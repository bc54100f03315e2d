// Convolutions in groups of few channels, where a thread adds up one number by itself: neighbouring threads have
// neighbouring channels.

// Blocks cover the elements of y.
extern "C" __global__ void direct_forward(
    real* y, const real* x, const real* weights, const real* bias, Size kind, double alpha, GEOMETRY, Size n_elements) {
    Geometry g = GIVEN_GEOMETRY;
    EACH(e, n_elements) {
        Size n = e;
        int o = take(n, g.O), j = take(n, g.OW), i = take(n, g.OH);
        const real* image = x + n * g.H * g.W * g.C + o / g.o * g.c;
        real sum = bias ? bias[o] : real(0);
        for (int u = 0; u < g.KH; u++) {
            int h = i * g.stride_h + u * g.dilation_h - g.top;
            if (h < 0 || h >= g.H) continue;
            for (int v = 0; v < g.KW; v++) {
                int w = j * g.stride_w + v * g.dilation_w - g.left;
                if (w < 0 || w >= g.W) continue;
                const real* pixel = image + ((Size)h * g.W + w) * g.C;
                const real* of_tap = weights + (Size)(u * g.KW + v) * g.c * g.O + o;
                for (int c = 0; c < g.c; c++) sum = fma(pixel[c], of_tap[(Size)c * g.O], sum);
            }
        }
        y[e] = fused((int)kind, sum, (real)alpha);
    }
}

// Blocks cover the elements of dx.
extern "C" __global__ void direct_inputs(
    real* dx, const real* dz, const real* weights, GEOMETRY, Size n_elements) {
    Geometry g = GIVEN_GEOMETRY;
    EACH(e, n_elements) {
        Size n = e;
        int channel = take(n, g.C), w = take(n, g.W), h = take(n, g.H), group = channel / g.c;
        const real* image = dz + n * g.OH * g.OW * g.O + group * g.o;
        real sum = 0;
        each_output(g, h, w, [&](Size output, int tap) {
            const real* pixel = image + output * g.O;
            const real* of_tap = weights + ((Size)tap * g.c + channel % g.c) * g.O + group * g.o;
            for (int o = 0; o < g.o; o++) sum = fma(pixel[o], of_tap[o], sum);
        });
        dx[e] = sum;
    }
}

// parts (splits, KH, KW, C / groups, O), whose elements blocks cover; a split has `share` of the outputs (n, i, j).
extern "C" __global__ void direct_weights(
    real* parts, const real* x, const real* dz, Size share, GEOMETRY, Size n_elements) {
    Geometry g = GIVEN_GEOMETRY;
    Size outputs = g.N * g.OH * g.OW;
    EACH(e, n_elements) {
        Size split = e;
        int o = take(split, g.O), c = take(split, g.c), v = take(split, g.KW), u = take(split, g.KH);
        int down = u * g.dilation_h - g.top, right = v * g.dilation_w - g.left;
        Size pixel = split * share, last = min(pixel + share, outputs), n = pixel;
        int j = take(n, g.OW), i = take(n, g.OH);
        const real* channel = x + o / g.o * g.c + c;
        real sum = 0;
        for (; pixel < last; pixel++) {
            int h = i * g.stride_h + down, w = j * g.stride_w + right;
            if (h >= 0 && h < g.H && w >= 0 && w < g.W)
                sum = fma(channel[((n * g.H + h) * g.W + w) * g.C], dz[pixel * g.O + o], sum);
            if (++j == g.OW) {
                j = 0;
                if (++i == g.OH) i = 0, n++;
            }
        }
        parts[e] = sum;
    }
}
