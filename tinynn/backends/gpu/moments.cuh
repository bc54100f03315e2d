// What batch normalization sums over the rows of x (M, C): means and squares forward, two sums backward, and how the
// threads of a tile turn what all runs of rows found into factors of their channels. Needs channels.cuh.

// The number of some rows, their mean and the sum of squares about it, for V channels.
template <int V> struct Moments {
    static constexpr int SIZE = 1 + 2 * V;
    real at[SIZE] = {};
    __device__ __forceinline__ real& n() { return at[0]; }
    __device__ __forceinline__ real& mean(int v) { return at[1 + v]; }
    __device__ __forceinline__ real& M2(int v) { return at[1 + V + v]; }

    // T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979
    __device__ __forceinline__ void merge(Moments other) {
        real total = n() + other.n(), share = other.n() / (total > 0 ? total : real(1)), weight = n() * share;
        for (int v = 0; v < V; v++) {
            real delta = other.mean(v) - mean(v);
            mean(v) += delta * share;
            M2(v) += other.M2(v) + delta * (delta * weight);  // without inf * 0
        }
        n() = total;
    }
};

// s = sum g, t = sum g xhat
template <int V> struct Sums : Totals<2 * V> {
    __device__ __forceinline__ real& s(int v) { return this->at[v]; }
    __device__ __forceinline__ real& t(int v) { return this->at[V + v]; }
};

// -- of a run of rows, into `parts` (runs, 2, C) ----------------------------------------------------------------------

// Of channel v of the tile the numbers a(v) and b(v).
template <int V, class A, class B>
__device__ __forceinline__ void write_part(real* parts, const Tile<V>& tile, Size C, A a, B b) {
    if (tile.row != 0 || !tile.there) return;
    real* part = parts + blockIdx.y * 2 * C + tile.c;
    for (int v = 0; v < V; v++) {
        part[v] = a(v);
        part[C + v] = b(v);
    }
}

// Moments of x - x[0]: so numbers far from zero lose no digits, and floats are enough. Eight rows are held at once, and
// their squares are those about their own mean.
template <int V>
__device__ __forceinline__ void write_moments(real* parts, const real* x, const Tile<V>& tile, Size C) {
    constexpr int HELD = 8;
    Moments<V> all;
    if (tile.there) {
        const real* column = x + tile.c;
        Pack<V> origin = load<V>(column);
        for (Size r = tile.first + tile.row; r < tile.last; r += HELD * tile.rows) {
            Pack<V> d[HELD];
            int n = 0;
#pragma unroll
            for (int i = 0; i < HELD; i++) {
                bool there = r + i * tile.rows < tile.last;
                d[i] = origin;
                if (there) d[i] = load<V>(column + (r + i * tile.rows) * C);
                n += there;
            }
            Moments<V> some;
            some.n() = n;
            real share = real(1) / n;
#pragma unroll
            for (int v = 0; v < V; v++) {
                real sum = 0, squares = 0;
#pragma unroll
                for (int i = 0; i < HELD; i++) {
                    d[i][v] -= origin[v];
                    sum += i < n ? d[i][v] : real(0);
                }
                real mean = sum * share;
#pragma unroll
                for (int i = 0; i < HELD; i++) squares += i < n ? (d[i][v] - mean) * (d[i][v] - mean) : real(0);
                some.mean(v) = mean;
                some.M2(v) = squares;
            }
            all.merge(some);
        }
    }
    all = over_block(all, tile);
    write_part(parts, tile, C, [&](int v) { return all.mean(v); }, [&](int v) { return all.M2(v); });
}

// Sums of g and xhat of the rows. `rows` reads in two steps, the second where the first said, and then computes: so the
// loads of several rows are under way together. A few rows are added first, then to the rest: shorter sums round less.
template <int V, class Rows>
__device__ __forceinline__ void write_sums(real* parts, const Rows& rows, const Tile<V>& tile, Size C) {
    Sums<V> all;
    if (tile.there) {
        for (Size r = tile.first + tile.row; r < tile.last; r += AT_ONCE * tile.rows) {
            typename Rows::Read read[AT_ONCE] = {};
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++)
                if (r + i * tile.rows < tile.last) rows.first(read[i], r + i * tile.rows);
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++)
                if (r + i * tile.rows < tile.last) rows.second(read[i], r + i * tile.rows);
            Sums<V> some;
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                if (r + i * tile.rows >= tile.last) continue;
                Pack<V> g, xhat;
                rows.compute(g, xhat, read[i]);
                for (int v = 0; v < V; v++) {
                    some.s(v) += g[v];
                    some.t(v) += g[v] * xhat[v];
                }
            }
            all.merge(some);
        }
    }
    all = over_block(all, tile);
    write_part(parts, tile, C, [&](int v) { return all.s(v); }, [&](int v) { return all.t(v); });
}

// -- of all runs: every block that needs them merges the parts of its channels, in the same order ---------------------

// y = (x - mean) scale + shift. The mean is two numbers: far from zero, what rounding takes from it would show in y.
template <int V> struct Norm {
    Pack<V> mean, rest, scale, shift;
    __device__ __forceinline__ void apply(Pack<V>& x) const {
        for (int v = 0; v < V; v++) x[v] = (x[v] - mean[v] - rest[v]) * scale[v] + shift[v];
    }
};

// use(p, one vector of part p, the other) for this thread's parts, in order, and zeros for some beyond the last.
template <int V, class Use>
__device__ __forceinline__ void each_part(const real* parts, Size runs, const Tile<V>& tile, Size C, Use use) {
    if (!tile.there) return;
    for (Size p = tile.row; p < runs; p += AT_ONCE * tile.rows) {
        Pack<V> a[AT_ONCE] = {}, b[AT_ONCE] = {};
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (p + i * tile.rows < runs) {
                a[i] = load<V>(parts + (p + i * tile.rows) * 2 * C + tile.c);
                b[i] = load<V>(parts + ((p + i * tile.rows) * 2 + 1) * C + tile.c);
            }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) use(p + i * tile.rows, a[i], b[i]);
    }
}

// From the parts of `runs` runs of `rows` rows of x; the first block of each tile writes the statistics.
template <int V>
__device__ __forceinline__ Norm<V> batch_norm_of(
    real* mean, real* variance, real* rstd, const real* x, const real* gamma, const real* beta, const real* parts,
    Size runs, Size rows, double epsilon, const Tile<V>& tile, Size M, Size C) {
    Moments<V> all;
    each_part<V>(parts, runs, tile, C, [&](Size p, const Pack<V>& means, const Pack<V>& squares) {
        Moments<V> part;
        part.n() = (real)max(min(rows, M - p * rows), Size(0));  // 0 of a run that there is not
        for (int v = 0; v < V; v++) {
            part.mean(v) = means[v];
            part.M2(v) = squares[v];
        }
        all.merge(part);
    });
    all = over_block(all, tile);
    Norm<V> norm = {};
    if (!tile.there) return norm;
    Pack<V> origin = load<V>(x + tile.c);
    for (int v = 0; v < V; v++) {
        Size c = tile.c + v;
        real a = origin[v], b = all.mean(v), sum = a + b, of_b = sum - a;
        norm.mean[v] = sum;
        norm.rest[v] = (a - (sum - of_b)) + (b - of_b);  // what a + b lost (D. Knuth)
        real square = all.M2(v) / all.n(), r = 1 / sqrt(square + (real)epsilon);
        norm.scale[v] = gamma ? gamma[c] * r : r;
        norm.shift[v] = beta ? beta[c] : real(0);
        if (blockIdx.y == 0 && tile.row == 0) {
            mean[c] = sum;
            variance[c] = square;
            rstd[c] = r;
        }
    }
    return norm;
}

template <int V>
__device__ __forceinline__ Sums<V> merged_sums(const real* parts, Size runs, const Tile<V>& tile, Size C) {
    Sums<V> all;
    each_part<V>(parts, runs, tile, C, [&](Size, const Pack<V>& s, const Pack<V>& t) {
        for (int v = 0; v < V; v++) {
            all.s(v) += s[v];
            all.t(v) += t[v];
        }
    });
    return over_block(all, tile);
}

// dgamma = sum g xhat, dbeta = sum g: null where not wanted.
template <int V>
__device__ __forceinline__ void write_gradients(real* dgamma, real* dbeta, Sums<V> all, const Tile<V>& tile) {
    if (!tile.there || tile.row != 0) return;
    for (int v = 0; v < V; v++) {
        if (dgamma) dgamma[tile.c + v] = all.t(v);
        if (dbeta) dbeta[tile.c + v] = all.s(v);
    }
}

// dx = scale (g - s / M - (x - mean) q),  scale = gamma rstd, q = rstd t / M
template <int V> struct NormGradient {
    Pack<V> mean, scale, s, q;
    __device__ __forceinline__ NormGradient(
        const real* means, const real* rstd, const real* gamma, Sums<V> all, const Tile<V>& tile, Size M) {
        for (int v = 0; v < V; v++) {
            Size c = tile.c + v;
            real r = tile.there ? rstd[c] : real(0);
            mean[v] = tile.there ? means[c] : real(0);
            scale[v] = tile.there && gamma ? gamma[c] * r : r;
            s[v] = all.s(v) / M;
            q[v] = all.t(v) / M * r;
        }
    }
    __device__ __forceinline__ void apply(Pack<V>& g, const Pack<V>& x) const {
        for (int v = 0; v < V; v++) g[v] = scale[v] * (g[v] - s[v] - (x[v] - mean[v]) * q[v]);
    }
    __device__ __forceinline__ void apply_given(Pack<V>& g) const {  // mean and rstd are constants
        for (int v = 0; v < V; v++) g[v] *= scale[v];
    }
};

// The mean and rstd of V channels, for xhat.
template <int V> struct Standard {
    Pack<V> mean = {}, rstd = {};
    __device__ __forceinline__ Standard(const real* means, const real* rstds, const Tile<V>& tile) {
        if (tile.there)
            for (int v = 0; v < V; v++) {
                mean[v] = means[tile.c + v];
                rstd[v] = rstds[tile.c + v];
            }
    }
    __device__ __forceinline__ void apply(Pack<V>& x) const {
        for (int v = 0; v < V; v++) x[v] = (x[v] - mean[v]) * rstd[v];
    }
};
