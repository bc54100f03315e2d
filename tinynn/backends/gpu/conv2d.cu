// Convolution as a product of matrices, the large one never stored (implicit GEMM): a block of threads makes a tile of
// ROWS x COLUMNS (products.cuh), gathering the numbers that it needs straight from the images.
//
//   forward  rows: outputs (n, i, j)   columns: o   depth: (u, v, c)    bias and activation at the end
//   inputs   rows: inputs (n, h, w)    columns: c   depth: (u, v, o)    with strides: only the taps that hit an output
//   weights  rows: (u, v, c)           columns: o   depth: (n, i, j)    split over blocks, whose parts are added later
//
// Places within an image are counted in 32 bits (conv2d.py sends larger images elsewhere), images in 64.

// A place in the depth (u, v, c), that moves on by DEPTH.
struct Tap {
    int u, v, c, wide, channels, du, dv, dc;

    __device__ Tap(int k, int wide, int channels) : wide(wide), channels(channels) {
        c = k % channels;
        v = k / channels % wide;
        u = k / channels / wide;
        dc = DEPTH % channels;
        dv = DEPTH / channels % wide;
        du = DEPTH / channels / wide;
    }
    __device__ __forceinline__ void advance() {
        c += dc;
        v += dv;
        u += du;
        if (c >= channels) c -= channels, v++;
        if (v >= wide) v -= wide, u++;
    }
};

// -- loaders ---------------------------------------------------------------------------------------------------------

// A of forward and inputs: row r sees the numbers (h_r + u step_h, w_r + v step_w, c) of its image, zeros outside.
struct Windows {
    using P = Panel<ROWS, true>;
    const real* from[P::COUNT];  // of (h_r, w_r, 0), which may lie outside
    int h[P::COUNT], w[P::COUNT];
    int H, W, C, high, step_h, step_w;
    Tap tap;

    // high, wide: of the window; channels: of the group, with C those of all groups
    __device__ Windows(
        const real* images, int H, int W, int C, int high, int wide, int channels, int step_h, int step_w)
        : H(H), W(W), C(C), high(high), step_h(step_h), step_w(step_w),
          tap(P::column(), wide, channels) {}

    __device__ __forceinline__ void place(int i, const real* image, int row, int column) {
        h[i] = row;
        w[i] = column;
        from[i] = image + ((Size)row * W + column) * C;
    }
    __device__ __forceinline__ void nothing(int i, const real* image) {
        h[i] = w[i] = -(1 << 30);  // outside, whatever the tap
        from[i] = image;
    }
    __device__ __forceinline__ void copy(real* panel) const {
        int down = tap.u * step_h, right = tap.v * step_w, offset = (down * W + right) * C + tap.c;
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            bool inside = (unsigned)(h[i] + down) < (unsigned)H && (unsigned)(w[i] + right) < (unsigned)W;
            P::copy(panel, i, from[i] + offset, inside && tap.u < high);
        }
    }
    __device__ __forceinline__ void advance() { tap.advance(); }
};

// B of forward and weights: a matrix (depth, columns), `columns` from the first of this tile.
struct Matrix {
    using P = Panel<COLUMNS, false>;
    const real* from;
    int stride, left;  // lines

    __device__ Matrix(const real* matrix, int stride, int depth, int columns)
        : from(matrix + P::line(0) * (Size)stride + P::column()), stride(stride),
          left(P::column() < columns ? depth - P::line(0) : 0) {}

    __device__ __forceinline__ void copy(real* panel) const {
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) P::copy(panel, i, from + i * P::STEP * (Size)stride, i * P::STEP < left);
    }
    __device__ __forceinline__ void advance() {
        from += DEPTH * (Size)stride;
        left -= DEPTH;
    }
};

// B of inputs: the weights of column c at depth (u, v, o), for every step_u-th u and every step_v-th v of the window.
struct TurnedWeights {
    using P = Panel<COLUMNS, true>;
    const real* from;
    int O, columns, high, u_size, v_size;
    const Tap& tap;  // the same as that of A

    // weights: those of the first (u, v), of this group and tile
    __device__ TurnedWeights(
        const real* weights, const Geometry& g, const Windows& a, int columns, int step_u, int step_v)
        : from(weights + (Size)P::line(0) * g.O), O(g.O), columns(columns - P::line(0)), high(a.high),
          u_size(step_u * g.KW * g.c * g.O), v_size(step_v * g.c * g.O), tap(a.tap) {
        static_assert(P::PER_LINE == Windows::P::PER_LINE, "a thread copies the same depths of A and B");
    }
    __device__ __forceinline__ void copy(real* panel) const {
        const real* at = from + (tap.u * u_size + tap.v * v_size + tap.c);
        int there = tap.u < high ? columns : 0;
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) P::copy(panel, i, at + i * P::STEP * (Size)O, i * P::STEP < there);
    }
    __device__ __forceinline__ void advance() {}
};

// A of weights: row (u, v, c) sees, at depth (n, i, j), the number (i stride - top + u dilation, ..., c) of image n.
struct Pixels {
    using P = Panel<ROWS, false>;
    const real* x;  // of this thread's channel
    int n[P::COUNT], row[P::COUNT], column[P::COUNT];  // n, and i and j times the stride
    int H, W, C, down, right, end_h, end_w, stride_h, step_n, step_h, step_w, left, image_size;

    __device__ Pixels(const real* images, const Geometry& g, Size first_row, Size first_pixel, int pixels)
        : H(g.H), W(g.W), C(g.C), end_h(g.OH * g.stride_h), end_w(g.OW * g.stride_w), stride_h(g.stride_h),
          left(pixels - P::line(0)), image_size(g.H * g.W * g.C) {
        Size m = first_row + P::column();
        x = images + take(m, g.c);
        right = take(m, g.KW) * g.dilation_w - g.left;
        down = (int)m * g.dilation_h - g.top;
        if (m >= g.KH) left = 0;  // behind the last row
        step_w = DEPTH % g.OW * g.stride_w;
        step_h = DEPTH / g.OW % g.OH * g.stride_h;
        step_n = DEPTH / g.OW / g.OH;
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            Size pixel = first_pixel + P::line(i);
            column[i] = take(pixel, g.OW) * g.stride_w;
            row[i] = take(pixel, g.OH) * g.stride_h;
            n[i] = (int)pixel;
        }
    }
    __device__ __forceinline__ void copy(real* panel) const {
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            int h = row[i] + down, w = column[i] + right;
            bool valid = (unsigned)h < (unsigned)H && (unsigned)w < (unsigned)W && i * P::STEP < left;
            P::copy(panel, i, x + ((Size)n[i] * image_size + (h * W + w) * C), valid);
        }
    }
    __device__ __forceinline__ void advance() {
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            column[i] += step_w;
            row[i] += step_h;
            n[i] += step_n;
            if (column[i] >= end_w) column[i] -= end_w, row[i] += stride_h;
            if (row[i] >= end_h) row[i] -= end_h, n[i]++;
        }
        left -= DEPTH;
    }
};

// -- kernels ---------------------------------------------------------------------------------------------------------

// Whether a tile of rows of so many numbers can be written four (or less) at a time.
__device__ __forceinline__ bool are_aligned(const real* tile, int numbers) {
    return (unsigned long long)tile % 16 == 0 && numbers % 4 == 0;
}

// The index of this block, read once more: what follows from it need not be kept in registers during the product.
__device__ __forceinline__ uint3 block_again() {
#ifdef EMULATED
    return blockIdx;
#else
    uint3 index;
    asm volatile("mov.u32 %0, %%ctaid.x; mov.u32 %1, %%ctaid.y; mov.u32 %2, %%ctaid.z;"
                 : "=r"(index.x), "=r"(index.y), "=r"(index.z));
    return index;
#endif
}

// Which tile is a block's: neighbouring blocks share rows.
struct Tile {
    Size row;
    int column;
    __device__ Tile(unsigned block, int columns) {
        unsigned across = ceil_div(columns, COLUMNS);
        row = (Size)(block / across) * ROWS;
        column = block % across * COLUMNS;
    }
};

// Blocks: (tiles, groups).
extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_forward(
    real* y, const real* x, const real* weights, const real* bias, Size kind, double alpha, GEOMETRY) {
    Geometry g = GIVEN_GEOMETRY;
    Tile tile(blockIdx.x, g.o);
    Size rows = g.N * g.OH * g.OW - tile.row;
    const real* images = x + blockIdx.y * g.c;
    Windows a(images, g.H, g.W, g.C, g.KH, g.KW, g.c, g.dilation_h, g.dilation_w);
#pragma unroll
    for (int i = 0; i < Windows::P::COUNT; i++) {
        if (Windows::P::line(i) < rows) {
            Size n = tile.row + Windows::P::line(i);
            int column = take(n, g.OW) * g.stride_w - g.left, row = take(n, g.OH) * g.stride_h - g.top;
            a.place(i, images + n * g.H * g.W * g.C, row, column);
        } else
            a.nothing(i, images);
    }
    int depth = g.KH * g.KW * g.c;
    Matrix b(weights + (blockIdx.y * g.o + tile.column), g.O, depth, g.o - tile.column);
    Product<Windows::P, Matrix::P> product;
    multiply(product, a, b, ceil_div(depth, DEPTH));

    uint3 block = block_again();
    tile = Tile(block.x, g.o);
    rows = g.N * g.OH * g.OW - tile.row;
    int first = block.y * g.o + tile.column, columns = g.o - tile.column;
    bool aligned = are_aligned(y + first, g.O);
#pragma unroll
    for (int c = 0; c < product.PER_THREAD_COLUMNS; c++) {
        int j = product.column(c);
        real add[product.WIDTH];
#pragma unroll
        for (int i = 0; i < product.WIDTH; i++) add[i] = bias && j + i < columns ? bias[first + j + i] : real(0);
#pragma unroll
        for (int r = 0; r < product.PER_THREAD_ROWS; r++) {
            int m = product.row(r);
            real values[product.WIDTH];
#pragma unroll
            for (int i = 0; i < product.WIDTH; i++)
                values[i] = fused((int)kind, product.value(r, c, i) + add[i], (real)alpha);
            if (m < rows) write_numbers(y + ((tile.row + m) * g.O + first + j), values, columns - j, aligned);
        }
    }
}

// One side of the inputs h = phase + stride r, which meet the same taps u = first + step q, at outputs r + shift -
// q dilation. step = stride / gcd(stride, dilation of the window), and `dilation` is that of the window over the same.
struct Phase {
    int phase, stride, inputs, first, step, taps, shift, dilation;

    __device__ Phase(int phase, int size, int stride, int before, int K, int dilation_)
        : phase(phase), stride(stride), inputs(ceil_div(size - phase, stride)) {
        int divisor = stride;
        for (int rest = dilation_ % divisor; rest; ) {  // the greatest common one
            int next = divisor % rest;
            divisor = rest;
            rest = next;
        }
        step = stride / divisor;
        dilation = dilation_ / divisor;
        for (first = 0; first < step && (phase + before - first * dilation_) % stride; first++) {}
        taps = first < step && first < K ? (K - 1 - first) / step + 1 : 0;
        shift = (phase + before - first * dilation_) / stride;
    }
};

__device__ Phase rows_of(const Geometry& g, unsigned phase) {
    return Phase(phase / min(g.stride_w, g.W), g.H, g.stride_h, g.top, g.KH, g.dilation_h);
}
__device__ Phase columns_of(const Geometry& g, unsigned phase) {
    return Phase(phase % min(g.stride_w, g.W), g.W, g.stride_w, g.left, g.KW, g.dilation_w);
}

// Blocks: (tiles of the largest phase, groups, phases).
extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_inputs(
    real* dx, const real* dz, const real* weights, GEOMETRY) {
    Geometry g = GIVEN_GEOMETRY;
    Phase down = rows_of(g, blockIdx.z), right = columns_of(g, blockIdx.z);
    Tile tile(blockIdx.x, g.c);
    Size rows = g.N * down.inputs * right.inputs - tile.row;
    if (rows <= 0) return;  // the whole block
    int columns = g.c - tile.column, wide = max(right.taps, 1), high = right.taps ? down.taps : 0;
    const real* images = dz + blockIdx.y * g.o;
    Windows a(images, g.OH, g.OW, g.O, high, wide, g.o, -down.dilation, -right.dilation);
#pragma unroll
    for (int i = 0; i < Windows::P::COUNT; i++) {
        if (Windows::P::line(i) < rows) {
            Size n = tile.row + Windows::P::line(i);
            int column = take(n, right.inputs) + right.shift, row = take(n, down.inputs) + down.shift;
            a.place(i, images + n * g.OH * g.OW * g.O, row, column);
        } else
            a.nothing(i, images);
    }
    const real* of_tap = weights + ((Size)down.first * g.KW + right.first) * g.c * g.O;  // the first one
    const real* turned = of_tap + (Size)tile.column * g.O + blockIdx.y * g.o;
    TurnedWeights b(turned, g, a, columns, down.step, right.step);
    Product<Windows::P, TurnedWeights::P> product;
    multiply(product, a, b, ceil_div(high * wide * g.o, DEPTH));

    uint3 block = block_again();
    down = rows_of(g, block.z), right = columns_of(g, block.z), tile = Tile(block.x, g.c);
    rows = g.N * down.inputs * right.inputs - tile.row;
    columns = g.c - tile.column;
    int first = block.y * g.c + tile.column;
    bool aligned = are_aligned(dx + first, g.C);
#pragma unroll
    for (int r = 0; r < product.PER_THREAD_ROWS; r++) {
        if (product.row(r) >= rows) continue;
        Size place = tile.row + product.row(r);
        if (g.stride_h * g.stride_w > 1) {
            int w = right.phase + take(place, right.inputs) * right.stride;
            int h = down.phase + take(place, down.inputs) * down.stride;
            place = (place * g.H + h) * g.W + w;
        }
        real* to = dx + (place * g.C + first);
        write_row(to, product, r, columns, aligned);
    }
}

// parts (splits, KH, KW, C / groups, O). Blocks: (tiles, groups, splits); a split has `share` of the outputs (n, i, j).
extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_weights(
    real* parts, const real* x, const real* dz, Size share, GEOMETRY) {
    Geometry g = GIVEN_GEOMETRY;
    Tile tile(blockIdx.x, g.o);
    int first = blockIdx.y * g.o + tile.column, columns = g.o - tile.column;
    Size first_pixel = blockIdx.z * share, rest = g.N * g.OH * g.OW - first_pixel;
    int pixels = (int)min(share, rest);
    Pixels a(x + blockIdx.y * g.c, g, tile.row, first_pixel, pixels);
    Matrix b(dz + (first_pixel * g.O + first), g.O, pixels, columns);
    Product<Pixels::P, Matrix::P> product;
    multiply(product, a, b, ceil_div(pixels, DEPTH));

    uint3 block = block_again();
    tile = Tile(block.x, g.o);
    first = block.y * g.o + tile.column, columns = g.o - tile.column;
    int rows = g.KH * g.KW * g.c - (int)tile.row;
    parts += ((Size)block.z * (g.KH * g.KW * g.c) + tile.row) * g.O + first;
    bool aligned = are_aligned(parts, g.O);
#pragma unroll
    for (int r = 0; r < product.PER_THREAD_ROWS; r++) {
        if (product.row(r) >= rows) continue;
        real* to = parts + (Size)product.row(r) * g.O;
        write_row(to, product, r, columns, aligned);
    }
}
