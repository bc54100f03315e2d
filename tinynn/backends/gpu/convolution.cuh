// What the kernels of a convolution share. In images x (N, H, W, C), weights (KH, KW, C / groups, O), y (N, OH, OW, O).

#define GEOMETRY                                                                                                       \
    Size N, Size H, Size W, Size C, Size OH, Size OW, Size O, Size KH, Size KW, Size stride_h, Size stride_w,          \
        Size dilation_h, Size dilation_w, Size top, Size left, Size groups
#define GIVEN_GEOMETRY                                                                                                 \
    {                                                                                                                  \
        N, (int)H, (int)W, (int)C, (int)OH, (int)OW, (int)O, (int)KH, (int)KW, (int)stride_h, (int)stride_w,           \
            (int)dilation_h, (int)dilation_w, (int)top, (int)left, (int)groups, (int)(C / groups), (int)(O / groups)   \
    }

struct Geometry {
    Size N;
    int H, W, C, OH, OW, O, KH, KW, stride_h, stride_w, dilation_h, dilation_w, top, left, groups;
    int c, o;  // channels and outputs of a group
};

// n / d, which is left, and the remainder. Most numbers fit 32 bits, where a division is several times cheaper.
__device__ __forceinline__ int take(Size& n, int d) {
    if (n >> 31 == 0) {
        int quotient = (int)n / d, rest = (int)n - quotient * d;
        n = quotient;
        return rest;
    }
    Size quotient = n / d;
    int rest = (int)(n - quotient * d);
    n = quotient;
    return rest;
}

// use(number of the output in its image, tap u KW + v) for each output that sees input (h, w), by which tap
template <class Use> __device__ __forceinline__ void each_output(const Geometry& g, int h, int w, Use use) {
    for (int u = 0; u < g.KH; u++) {
        int i = h + g.top - u * g.dilation_h;
        if (i < 0 || i % g.stride_h || i / g.stride_h >= g.OH) continue;
        for (int v = 0; v < g.KW; v++) {
            int j = w + g.left - v * g.dilation_w;
            if (j < 0 || j % g.stride_w || j / g.stride_w >= g.OW) continue;
            use((Size)(i / g.stride_h) * g.OW + j / g.stride_w, u * g.KW + v);
        }
    }
}

// The kinds that a convolution applies itself; the others would only make its kernels larger.
__device__ __forceinline__ real fused(int kind, real x, real alpha) {
    switch (kind) {
        case RELU: return x < 0 ? real(0) : x;  // NaN stays
        case LEAKY_RELU: return x > 0 ? x : alpha * x;
        case TANH: return tanh(x);
        default: return x;
    }
}
