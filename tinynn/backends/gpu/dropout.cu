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
    bool packed = aligned<4>(y) && aligned<4>(mask) && aligned<4>(x);
    EACH(i, (n + 3) / 4) {
        Words words = draw.words(i);
        Pack<bool, 4> keep;
        Pack<real, 4> factor;
        for (int k = 0; k < 4; k++) {
            keep.v[k] = (Size)words.w[k] >= limit;
            factor.v[k] = keep.v[k] ? (real)scale : real(0);
        }
        Size e = 4 * i;
        if (packed && e + 4 <= n) {
            Pack<real, 4> out = load_pack<4>(x + e);
            for (int k = 0; k < 4; k++) out.v[k] *= factor.v[k];
            store_pack<4>(y + e, out);
            store_pack<4>(mask + e, keep);
        } else {
            for (int k = 0; k < 4; k++)
                if (e + k < n) {
                    y[e + k] = x[e + k] * factor.v[k];
                    mask[e + k] = keep.v[k];
                }
        }
    }
}

template <int W> __device__ void scale_kept(real* dx, const real* dy, const bool* mask, real scale, Size n) {
    EACH(i, n / W) {
        Pack<real, W> g = load_pack<W>(dy + i * W);
        Pack<bool, W> keep = load_pack<W>(mask + i * W);
        for (int k = 0; k < W; k++) g.v[k] *= keep.v[k] ? scale : real(0);
        store_pack<W>(dx + i * W, g);
    }
}

// dx may be dy.
extern "C" __global__ void dropout_backward(real* dx, const real* dy, const bool* mask, double scale, Size n) {
    Size packed = aligned<4>(dx) && aligned<4>(dy) && aligned<4>(mask) ? n - n % 4 : 0;
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
    EACH(i, (n + 3) / 4) {
        Words words = draw.words(i);
        Pack<real, 4> z;
        box_muller(z.v[0], z.v[1], words.w[0], words.w[1], (real)stddev);
        box_muller(z.v[2], z.v[3], words.w[2], words.w[3], (real)stddev);
        Size e = 4 * i;
        if (packed && e + 4 <= n) {
            store_pack<4>(out + e, z);
        } else {
            for (int k = 0; k < 4; k++)
                if (e + k < n) out[e + k] = z.v[k];
        }
    }
}
