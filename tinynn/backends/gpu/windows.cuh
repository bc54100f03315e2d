// A window that moves over images (N, H, W, C), channels in tiles (channels.cuh): the largest of what it sees, and the
// way back, where each input looks for the outputs whose window it is in. tinynn/window.py has the formula.

struct Pool {
    int KH, KW, SH, SW, DH, DW, top, left, H, W, OH, OW;
};

// The arguments of a kernel that make a Pool; `arguments_of` in pool2d.py.
#define POOL_ARGUMENTS \
    Size KH, Size KW, Size SH, Size SW, Size DH, Size DW, Size top, Size left, Size H, Size W, Size OH, Size OW
#define POOL \
    Pool { (int)KH, (int)KW, (int)SH, (int)SW, (int)DH, (int)DW, (int)top, (int)left, (int)H, (int)W, (int)OH, (int)OW }

// a / b of a >= 0, and cheap where b is 1 or 2, as strides and dilations are
__device__ __forceinline__ int quotient(int a, int b) {
    return b == 1 ? a : b == 2 ? a >> 1 : (int)((unsigned)a / (unsigned)b);
}

struct Pixel {
    Size n;  // image
    int i, j;
};

// The rows of a run as pixels of images of high x wide < 2^31: only the first costs divisions of 64 bits.
struct Pixels {
    Size first, image;
    unsigned start, area, wide;
    __device__ __forceinline__ Pixels(Size first, int high, int wide)
        : first(first), area((unsigned)high * (unsigned)wide), wide((unsigned)wide) {
        image = first / area;
        start = (unsigned)(first - image * area);
    }
    __device__ __forceinline__ Pixel at(Size r) const {
        unsigned here = start + (unsigned)(r - first), n = here / area;
        here -= n * area;
        unsigned i = here / wide;
        return {image + n, (int)i, (int)(here - i * wide)};
    }
};

// Where the largest of a window stands, a KW + b: in bytes, or with windows of more than 256 in ints; one is null.
struct Places {
    unsigned char* bytes;
    int* ints;
    template <int V> __device__ __forceinline__ void write(Size at, const int (&k)[V]) const {
        if (bytes) {
            Pack<V, unsigned char> all;
            for (int v = 0; v < V; v++) all[v] = (unsigned char)k[v];
            store(bytes + at, all);
        } else if (ints) {
            for (int v = 0; v < V; v++) ints[at + v] = k[v];
        }
    }
    template <int V> __device__ __forceinline__ void read(Size at, int (&k)[V]) const {
        if (bytes) {
            Pack<V, unsigned char> all = load<V>(bytes + at);
            for (int v = 0; v < V; v++) k[v] = all[v];
        } else {
            for (int v = 0; v < V; v++) k[v] = ints[at + v];
        }
    }
};

// Along one axis: the places a of window i, from first to end, that stand on one of the n inputs i S + a D - before.
struct Met {
    int start, first, end;  // start: where place 0 stands
    __device__ __forceinline__ Met(int i, int K, int S, int D, int before, int n) {
        start = i * S - before;
        first = start >= 0 ? 0 : quotient(D - 1 - start, D);
        end = start >= n ? 0 : min(K, quotient(n - 1 - start, D) + 1);
    }
};

// The first largest number of a pixel's window, NaN being the largest, and its place; `change` acts on what is read.
template <int V, class Change>
__device__ __forceinline__ Pack<V> largest(
    int (&k)[V], const Pool& pool, Pixel at, const real* x, Size C, Change change) {
    Met rows(at.i, pool.KH, pool.SH, pool.DH, pool.top, pool.H);
    Met columns(at.j, pool.KW, pool.SW, pool.DW, pool.left, pool.W);
    Pack<V> best;
    for (int v = 0; v < V; v++) {
        best[v] = -INFINITY;
        k[v] = rows.first * pool.KW + columns.first;
    }
    auto take = [&](Pack<V> p, int place) {
        change(p);
        for (int v = 0; v < V; v++)
            if (!(p[v] <= best[v]) && best[v] == best[v]) {
                best[v] = p[v];
                k[v] = place;
            }
    };
    // where place (0, 0) stands, maybe outside of the image
    const real* corner = x + ((at.n * pool.H + rows.start) * pool.W + columns.start) * C;
    Size down = (Size)pool.DH * pool.W * C, across = (Size)pool.DW * C;
    if (pool.KH == 2 && pool.KW == 2 && rows.end - rows.first == 2 && columns.end - columns.first == 2) {
        // the usual window: its four loads are under way together
        Pack<V> a = load<V>(corner), b = load<V>(corner + across);
        Pack<V> c = load<V>(corner + down), d = load<V>(corner + down + across);
        take(a, 0);
        take(b, 1);
        take(c, 2);
        take(d, 3);
        return best;
    }
    for (int a = rows.first; a < rows.end; a++)
        for (int b = columns.first; b < columns.end; b++)
            take(load<V>(corner + a * down + b * across), a * pool.KW + b);
    return best;
}

// Along one axis: the windows i, from first to last, that reach over input h (between their places too, where D > 1).
struct Seen {
    int first, last;
    __device__ __forceinline__ Seen(int h, int K, int S, int D, int before, int outputs) {
        int reach = h + before - (K - 1) * D;
        first = reach <= 0 ? 0 : quotient(reach + S - 1, S);
        last = min(quotient(h + before, S), outputs - 1);
    }
};

// use(number of the output's pixel in its image, a KW + b, i, j) for each output whose window sees input (h, w)
template <class Use> __device__ __forceinline__ void each_output(const Pool& pool, int h, int w, Use use) {
    Seen rows(h, pool.KH, pool.SH, pool.DH, pool.top, pool.OH);
    Seen columns(w, pool.KW, pool.SW, pool.DW, pool.left, pool.OW);
    for (int i = rows.first; i <= rows.last; i++) {
        int down = h + pool.top - i * pool.SH, a = quotient(down, pool.DH);
        if (a * pool.DH != down) continue;
        for (int j = columns.first; j <= columns.last; j++) {
            int across = w + pool.left - j * pool.SW, b = quotient(across, pool.DW);
            if (b * pool.DW == across) use((Size)i * pool.OW + j, a * pool.KW + b, i, j);
        }
    }
}

// The gradient of input pixel `at` of max pooling and the activation behind it: dz f'(z) of the outputs that it is the
// largest for. z may be null where the activation is linear. dz, z: at this thread's channel `c`.
template <int V>
__device__ __forceinline__ Pack<V> gathered(
    const Pool& pool, Pixel at, const real* dz, const real* z, const Places& places, int kind, real alpha, Size c,
    Size C) {
    Pack<V> sum = {};
    Size image = at.n * pool.OH * pool.OW;
    each_output(pool, at.i, at.j, [&](Size pixel, int place, int, int) {
        Size here = (image + pixel) * C + c;
        int k[V];
        places.read(here, k);
        Pack<V> g = load<V>(dz + here);
        if (kind != LINEAR) activate_pack_backward(g, load<V>(z + here), kind, alpha);
        for (int v = 0; v < V; v++) sum[v] += k[v] == place ? g[v] : real(0);
    });
    return sum;
}
