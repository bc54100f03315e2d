// Dropout and noise. A thread has one block of Philox, which is four elements; nothing is read but x, and a step's
// number, which lives on the card.

struct Draw {  // one call's place among all random numbers
    unsigned step, substream, call, key0, key1;

    __device__ __forceinline__ Words words(Size block) const {
        return philox((unsigned)block, step, substream, call, key0, key1);
    }
};

#define DRAW Draw{*step, (unsigned)substream, (unsigned)call, (unsigned)key0, (unsigned)key1}

// limit: rate 2^32, up to 2^32 itself; scale: 1 / (1 - rate). A dropped NaN or infinity is NaN, as x 0 is.
extern "C" __global__ void dropout_forward(
    real* y, bool* mask, const real* x, Size limit, double scale, const unsigned* step, Size key0, Size key1,
    Size substream, Size call, Size n) {
    Draw draw = DRAW;
    bool packed = aligned<4>(y, mask, x);
    EACH(i, ceil_div(n, 4)) {
        Words words = draw.words(i);
        Pack<4, bool> keep;
        Pack<4> factor;
        for (int k = 0; k < 4; k++) {
            keep[k] = (Size)words.w[k] >= limit;
            factor[k] = keep[k] ? (real)scale : real(0);
        }
        Size e = 4 * i;
        if (packed && e + 4 <= n) {
            Pack<4> out = load<4>(x + e);
            for (int k = 0; k < 4; k++) out[k] *= factor[k];
            store(y + e, out);
            store(mask + e, keep);
        } else {
            for (int k = 0; k < 4; k++)
                if (e + k < n) {
                    y[e + k] = x[e + k] * factor[k];
                    mask[e + k] = keep[k];
                }
        }
    }
}

template <int W> __device__ void scale_kept(real* dx, const real* dy, const bool* mask, real scale, Size n) {
    EACH(i, n / W) {
        Pack<W> g = load<W>(dy + i * W);
        Pack<W, bool> keep = load<W>(mask + i * W);
        for (int k = 0; k < W; k++) g[k] *= keep[k] ? scale : real(0);
        store(dx + i * W, g);
    }
}

// dx may be dy.
extern "C" __global__ void dropout_backward(real* dx, const real* dy, const bool* mask, double scale, Size n) {
    Size packed = aligned<4>(dx, dy, mask) ? n - n % 4 : 0;
    scale_kept<4>(dx, dy, mask, (real)scale, packed);
    scale_kept<1>(dx + packed, dy + packed, mask + packed, (real)scale, n - packed);
}

// even, odd = stddev sqrt(-2 ln u1) (cos, sin)(2 pi u2), with u1 = (u + 1) / 2^32 and u2 = v / 2^32. In float32 too,
// the result is good to its last digits: near 1, u1 is no float, but ln u1 = log1p(-(1 - u1)), and 1 - u1 is one; and
// the angle is taken between -pi and pi, in parts of pi.
__device__ __forceinline__ void box_muller(real& even, real& odd, unsigned u, unsigned v, real stddev) {
    constexpr real UNIT = real(1.0 / 4294967296.0);
    real log_u1 = u < 0x80000000u ? log(((real)u + 1) * UNIT) : log1p(-((real)~u * UNIT));
    real radius = stddev * sqrt(-2 * log_u1), sine, cosine;
    sincospi((real)(int)v * (2 * UNIT), &sine, &cosine);
    even = radius * cosine;
    odd = radius * sine;
}

extern "C" __global__ void dropout_normal(
    real* out, double stddev, const unsigned* step, Size key0, Size key1, Size substream, Size call, Size n) {
    Draw draw = DRAW;
    bool packed = aligned<4>(out);
    EACH(i, ceil_div(n, 4)) {
        Words words = draw.words(i);
        Pack<4> z;
        box_muller(z[0], z[1], words.w[0], words.w[1], (real)stddev);
        box_muller(z[2], z[3], words.w[2], words.w[3], (real)stddev);
        Size e = 4 * i;
        if (packed && e + 4 <= n) {
            store(out + e, z);
        } else {
            for (int k = 0; k < 4; k++)
                if (e + k < n) out[e + k] = z[k];
        }
    }
}
