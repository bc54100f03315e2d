// Optimizers: one pass over flat arrays, w (weights), g (gradients) and up to three slots. The formulas and the order
// of their operations stand in backends/reference/optimizers.py.
//
// A rule is a struct: what is the same for all elements, and what it does to one of them. One thread of each block
// makes it from the state, in float64 (a few operations, which would be dear for every thread where doubles are slow);
// then the block goes over its elements in packs of 16 bytes. A skipped step returns before it has read a gradient.

// Pack i of a slot, or of none.
__device__ __forceinline__ Pack<WIDEST> pack(const real* a, Size i) {
    return a ? ((const Pack<WIDEST>*)a)[i] : Pack<WIDEST>();
}
__device__ __forceinline__ void put(real* a, Size i, const Pack<WIDEST>& value) {
    if (a) ((Pack<WIDEST>*)a)[i] = value;
}

// rule(w[i], g[i], a[i], b[i], c[i]) for every i; a, b and c are slots or null. w may be g: each element is read first.
template <class Rule>
__device__ __forceinline__ void go_over(
    const Rule& of_block, real* w, const real* g, real* a, real* b, real* c, Size n) {
    const Rule rule = of_block;  // from shared memory to registers
    Size packs = aligned<WIDEST>(w, g, a, b, c) ? n / WIDEST : 0;
    EACH(i, packs) {
        Pack<WIDEST> W = pack(w, i), G = pack(g, i), A = pack(a, i), B = pack(b, i), C = pack(c, i);
        for (int j = 0; j < WIDEST; j++) rule(W.at[j], G.at[j], A.at[j], B.at[j], C.at[j]);
        put(w, i, W);
        put(a, i, A);
        put(b, i, B);
        put(c, i, C);
    }
#pragma unroll 1  // the rest: a few, but for arrays that begin elsewhere
    for (Size i = packs * WIDEST + (Size)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (Size)gridDim.x * blockDim.x) {
        real W = w[i], A = a ? a[i] : real(0), B = b ? b[i] : real(0), C = c ? c[i] : real(0);
        rule(W, g[i], A, B, C);
        w[i] = W;
        if (a) a[i] = A;
        if (b) b[i] = B;
        if (c) c[i] = C;
    }
}

// The body of a kernel; what comes after n are the fields of the rule, made by one thread from `state`.
#define STEP(Rule, w, g, a, b, c, n, ...)                         \
    if (!(state[SCALE] > 0)) return;                              \
    __shared__ Rule rule;                                         \
    if (threadIdx.x == 0) rule = Rule{__VA_ARGS__};               \
    __syncthreads();                                              \
    go_over(rule, w, g, a, b, c, n)

// -- norms and clipping -----------------------------------------------------------------------------------------------

// This thread's share of sum g^2. In float64, so that the square of no float32 overflows, and none is lost.
__device__ double squares_of(const real* g, Size n) {
    double total = 0;
    Size packs = aligned<WIDEST>(g) ? n / WIDEST : 0;
    EACH(i, packs) {
        Pack<WIDEST> G = pack(g, i);
        for (int j = 0; j < WIDEST; j++) total += (double)G[j] * G[j];
    }
    for (Size i = packs * WIDEST + (Size)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (Size)gridDim.x * blockDim.x)
        total += (double)g[i] * g[i];
    return total;
}

// Sums of squares of the blocks in `parts`; a single block, without parts, adds its own to the state.
extern "C" __global__ void square_sum(const real* g, double* parts, double* state, Size n) {
    double total = block_reduce(squares_of(g, n));
    if (threadIdx.x != 0) return;
    if (parts) parts[blockIdx.x] = total; else state[SQUARES] += total;
}

struct Clip {
    real most;
    __device__ void operator()(real& clipped, real g, real&, real&, real&) const {
        g = g > most ? most : g;
        clipped = g < -most ? -most : g;  // NaN stays
    }
};

extern "C" __global__ void clip(real* clipped, const real* g, double value, Size n) {
    go_over(Clip{(real)value}, clipped, g, nullptr, nullptr, nullptr, n);
}

struct Multiply {
    real factor;
    __device__ void operator()(real& y, real x, real&, real&, real&) const { y = factor * x; }
};

// clipped = g norm / max(|g|, norm), |g| from partial sums that every block adds up alike. Without parts a single block
// makes the sum too.
extern "C" __global__ void clip_norm(
    real* clipped, const real* g, const double* parts, Size count, double norm, Size n) {
    double total = 0;
    if (parts) for (Size i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
    else total = squares_of(g, n);
    double length = sqrt(block_reduce(total));
    go_over(Multiply{(real)(norm / Larger()(length, norm))}, clipped, g, nullptr, nullptr, nullptr, n);
}

// -- SGD --------------------------------------------------------------------------------------------------------------

// What all rules take from the state: g is multiplied by `scale`, w by `keep` = 1 - lr weight_decay.
struct Step {
    real scale, rate, keep;
};

__device__ __forceinline__ Step step_of(const double* state, double weight_decay) {
    double rate = state[LEARNING_RATE];
    return {(real)state[SCALE], (real)rate, (real)(1 - rate * weight_decay)};
}

struct SGD {
    Step step;
    __device__ void operator()(real& w, real g, real&, real&, real&) const {
        w = step.keep * w - step.rate * (step.scale * g);
    }
};

extern "C" __global__ void sgd(real* w, const real* g, const double* state, double weight_decay, Size n) {
    STEP(SGD, w, g, nullptr, nullptr, nullptr, n, step_of(state, weight_decay));
}

struct Momentum {
    Step step;
    real momentum;
    bool nesterov;
    __device__ void operator()(real& w, real g, real& v, real&, real&) const {
        real change = step.rate * (step.scale * g);
        v = momentum * v - change;
        w = step.keep * w + (nesterov ? momentum * v - change : v);
    }
};

extern "C" __global__ void momentum(real* w, real* v, const real* g, const double* state, double momentum,
                                    Size nesterov, double weight_decay, Size n) {
    STEP(Momentum, w, g, v, nullptr, nullptr, n, step_of(state, weight_decay), (real)momentum, nesterov != 0);
}

// -- Adam and its relatives -------------------------------------------------------------------------------------------

struct Moments {  // of Adam and Nadam
    real of_m, of_v;  // 1 - beta1, 1 - beta2
    __device__ __forceinline__ void add(real g, real& m, real& v) const {
        m += of_m * (g - m);
        v += of_v * (g * g - v);
    }
};

struct Adam {
    Step step;
    Moments moments;
    real rate, epsilon;  // the rate with both corrections of the bias
    bool amsgrad;
    __device__ void operator()(real& w, real g, real& m, real& v, real& largest) const {
        moments.add(step.scale * g, m, v);
        if (amsgrad) largest = Larger()(largest, v);
        w = step.keep * w - rate * m / (sqrt(amsgrad ? largest : v) + epsilon);
    }
};

extern "C" __global__ void adam(real* w, real* m, real* v, real* largest, const real* g, const double* state,
                                double beta1, double beta2, double epsilon, double weight_decay, Size n) {
    STEP(Adam, w, g, m, v, largest, n, step_of(state, weight_decay), {(real)(1 - beta1), (real)(1 - beta2)},
         (real)(state[LEARNING_RATE] * sqrt(1 - power(beta2, state[ITERATIONS]))
                / (1 - power(beta1, state[ITERATIONS]))),
         (real)epsilon, largest != nullptr);
}

struct Nadam {
    Step step;
    Moments moments;
    real of_m, of_g, of_v, epsilon;
    __device__ void operator()(real& w, real g, real& m, real& v, real&) const {
        g *= step.scale;
        moments.add(g, m, v);
        w = step.keep * w - step.rate * (of_m * m + of_g * g) / (sqrt(of_v * v) + epsilon);
    }
};

__device__ __forceinline__ Nadam nadam_rule(
    const double* state, double beta1, double beta2, double epsilon, double weight_decay) {
    double t = state[ITERATIONS], product = state[PRODUCT];
    double u = nadam_momentum(beta1, t), next_u = nadam_momentum(beta1, t + 1);
    return {step_of(state, weight_decay),
            {(real)(1 - beta1), (real)(1 - beta2)},
            (real)(next_u / (1 - product * next_u)),
            (real)((1 - u) / (1 - product)),
            (real)(1 / (1 - power(beta2, t))),
            (real)epsilon};
}

extern "C" __global__ void nadam(real* w, real* m, real* v, const real* g, const double* state, double beta1,
                                 double beta2, double epsilon, double weight_decay, Size n) {
    STEP(Nadam, w, g, m, v, nullptr, n, nadam_rule(state, beta1, beta2, epsilon, weight_decay));
}

struct Adamax {
    Step step;
    real of_m, beta2, rate, epsilon;
    __device__ void operator()(real& w, real g, real& m, real& u, real&) const {
        g *= step.scale;
        m += of_m * (g - m);
        u = Larger()(beta2 * u, (real)fabs(g));
        w = step.keep * w - rate * m / (u + epsilon);
    }
};

extern "C" __global__ void adamax(real* w, real* m, real* u, const real* g, const double* state, double beta1,
                                  double beta2, double epsilon, double weight_decay, Size n) {
    STEP(Adamax, w, g, m, u, nullptr, n, step_of(state, weight_decay), (real)(1 - beta1), (real)beta2,
         (real)(state[LEARNING_RATE] / (1 - power(beta1, state[ITERATIONS]))), (real)epsilon);
}

// -- RMSprop, Adagrad, Adadelta ---------------------------------------------------------------------------------------

struct RMSprop {
    Step step;
    real rho, rest, momentum, epsilon;  // rest = 1 - rho
    bool moves, centered;
    __device__ void operator()(real& w, real g, real& v, real& velocity, real& mean) const {
        g *= step.scale;
        v = rho * v + rest * (g * g);
        real spread = v;
        if (centered) {
            mean = rho * mean + rest * g;
            spread = Larger()(v - mean * mean, real(0));
        }
        real change = step.rate * g / sqrt(spread + epsilon);
        if (moves) change = velocity = momentum * velocity + change;
        w = step.keep * w - change;
    }
};

extern "C" __global__ void rmsprop(real* w, real* v, real* velocity, real* mean, const real* g, const double* state,
                                   double rho, double momentum, double epsilon, double weight_decay, Size n) {
    STEP(RMSprop, w, g, v, velocity, mean, n, step_of(state, weight_decay), (real)rho, (real)(1 - rho),
         (real)momentum, (real)epsilon, velocity != nullptr, mean != nullptr);
}

struct Adagrad {
    Step step;
    real epsilon;
    __device__ void operator()(real& w, real g, real& v, real&, real&) const {
        g *= step.scale;
        v += g * g;
        w = step.keep * w - step.rate * g / sqrt(v + epsilon);
    }
};

extern "C" __global__ void adagrad(
    real* w, real* v, const real* g, const double* state, double epsilon, double weight_decay, Size n) {
    STEP(Adagrad, w, g, v, nullptr, nullptr, n, step_of(state, weight_decay), (real)epsilon);
}

struct Adadelta {
    Step step;
    real rho, rest, epsilon;
    __device__ void operator()(real& w, real g, real& v, real& d, real&) const {
        g *= step.scale;
        v = rho * v + rest * (g * g);
        real change = sqrt((d + epsilon) / (v + epsilon)) * g;
        d = rho * d + rest * (change * change);
        w = step.keep * w - step.rate * change;
    }
};

extern "C" __global__ void adadelta(real* w, real* v, real* d, const real* g, const double* state, double rho,
                                    double epsilon, double weight_decay, Size n) {
    STEP(Adadelta, w, g, v, d, nullptr, n, step_of(state, weight_decay), (real)rho, (real)(1 - rho), (real)epsilon);
}
