// Images read at other points: a thread has points of one image and all their channels; blockIdx.y is the image.
//
// The arithmetic is the reference's, operation by operation (compiled without fused multiply-adds), so that a point
// falls into the same cell: coordinates in float64, colours in float32. What is read is rounded only for bytes.

enum Fill { NEAREST, CONSTANT, REFLECT, WRAP };  // in the order of tinynn.backends.base.Fill

constexpr double EDGE = 1e-6;  // tinynn.backends.base.EDGE

// The place in 0 .. n-1 whose value stands for place k.
__device__ __forceinline__ Size index_of(Size k, Size n, int fill) {
    if (k >= 0 && k < n) return k;
    if (fill == REFLECT || fill == WRAP) {
        Size period = fill == WRAP ? n : 2 * n;
        k %= period;
        if (k < 0) k += period;
        return k < n ? k : period - 1 - k;
    }
    return k < 0 ? 0 : n - 1;
}

// A whole number, which may lie far outside; NaN too becomes a number.
__device__ __forceinline__ Size cell_of(double v) { return (Size)fmin(fmax(v, -1073741824.0), 1073741824.0); }

__device__ __forceinline__ void write(float* out, float value) { *out = value; }
__device__ __forceinline__ void write(unsigned char* out, float value) {
    *out = (unsigned char)(int)floor(value + 0.5f);
}

// One point (r, c) of an image (H, W, C) into out (C,).
template <class Out, class In> __device__ __forceinline__ void read_point(
    Out* out, const In* image, double r, double c, Size H, Size W, Size C, int fill, float value, bool nearest) {
    bool outside = r < -EDGE || r > (double)(H - 1) + EDGE || c < -EDGE || c > (double)(W - 1) + EDGE;
    if (fill == CONSTANT && outside) {
        for (Size k = 0; k < C; k++) write(out + k, value);
        return;
    }
    double first_r = floor(nearest ? r + 0.5 : r), first_c = floor(nearest ? c + 0.5 : c);
    Size top = cell_of(first_r), left = cell_of(first_c);
    Size row = index_of(top, H, fill) * W, column = index_of(left, W, fill);
    const In* a = image + (row + column) * C;
    if (nearest) {
        for (Size k = 0; k < C; k++) out[k] = (Out)a[k];
        return;
    }
    Size next_row = index_of(top + 1, H, fill) * W, next_column = index_of(left + 1, W, fill);
    const In *b = image + (row + next_column) * C, *d = image + (next_row + column) * C;
    const In* e = image + (next_row + next_column) * C;
    float fr = (float)(r - first_r), fc = (float)(c - first_c);
    for (Size k = 0; k < C; k++) {
        float upper = (float)a[k] + fc * ((float)b[k] - (float)a[k]);
        float lower = (float)d[k] + fc * ((float)e[k] - (float)d[k]);
        write(out + k, upper + fr * (lower - upper));
    }
}

template <class Out, class In> __device__ void affine(
    const double* matrices, Out* out, const In* images, int fill, float value, Size order, Size N, Size H, Size W,
    Size C, Size OH, Size OW) {
    for (Size n = blockIdx.y; n < N; n += gridDim.y) {
        const double* m = matrices + 6 * n;
        double m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5];
        bool whole = m0 == rint(m0) && m1 == rint(m1) && m2 == rint(m2) && m3 == rint(m3) && m4 == rint(m4) &&
                     m5 == rint(m5);
        EACH(point, OH * OW) {
            Size i = point / OW, j = point - i * OW;
            double r = (m0 * (double)i + m2) + m1 * (double)j, c = (m3 * (double)i + m5) + m4 * (double)j;
            Out* to = out + (n * OH * OW + point) * C;
            read_point(to, images + n * H * W * C, r, c, H, W, C, fill, value, whole || order == 0);
        }
    }
}

extern "C" __global__ void affine_bytes_to_bytes(
    const double* matrices, unsigned char* out, const unsigned char* images, Size fill, double value, Size order,
    Size N, Size H, Size W, Size C, Size OH, Size OW) {
    affine(matrices, out, images, (int)fill, (float)value, order, N, H, W, C, OH, OW);
}

extern "C" __global__ void affine_bytes_to_floats(
    const double* matrices, float* out, const unsigned char* images, Size fill, double value, Size order, Size N,
    Size H, Size W, Size C, Size OH, Size OW) {
    affine(matrices, out, images, (int)fill, (float)value, order, N, H, W, C, OH, OW);
}

extern "C" __global__ void affine_floats_to_floats(
    const double* matrices, float* out, const float* images, Size fill, double value, Size order, Size N,
    Size H, Size W, Size C, Size OH, Size OW) {
    affine(matrices, out, images, (int)fill, (float)value, order, N, H, W, C, OH, OW);
}
