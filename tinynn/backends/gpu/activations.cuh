// Activations y = f(x), and f'(x) by y (and x where y does not tell), side by side. The formulas and their sources stand
// in backends/reference/activation.py; `alpha` is the slope of leaky relu, or the scale of elu.

enum Activation {  // in the order of tinynn.activation.Activation; NUMBER in activation.py
    LINEAR, RELU, LEAKY_RELU, ELU, SELU, GELU, SIGMOID, TANH, SOFTPLUS, SOFTSIGN, SWISH, HARD_SIGMOID, EXPONENTIAL
};

constexpr double SELU_ALPHA = 1.6732632423543772, SELU_SCALE = 1.0507009873554805;

// exp of negative numbers only: nothing overflows, small values keep their digits
__device__ __forceinline__ real sigmoid(real x) {
    real e = exp(-fabs(x));
    return (x < 0 ? e : real(1)) / (1 + e);
}

__device__ __forceinline__ real normal_cdf(real x) { return real(0.5) * (1 + erf(x * real(0.70710678118654752))); }

__device__ __forceinline__ real activate(int kind, real x, real alpha) {
    switch (kind) {
        case RELU: return x < 0 ? real(0) : x;  // NaN stays
        case LEAKY_RELU: return x > 0 ? x : alpha * x;
        case ELU: return x > 0 ? x : alpha * expm1(x);
        case SELU: return real(SELU_SCALE) * (x > 0 ? x : real(SELU_ALPHA) * expm1(x));
        case GELU: return x * normal_cdf(x);
        case SIGMOID: return sigmoid(x);
        case TANH: return tanh(x);
        case SOFTPLUS: return fmax(x, real(0)) + log1p(exp(-fabs(x))) + (x != x ? x : real(0));
        case SOFTSIGN: return x / (1 + fabs(x));
        case SWISH: return x * sigmoid(x);
        case HARD_SIGMOID: return (x <= -3 ? real(0) : x >= 3 ? real(6) : x + 3) / 6;
        case EXPONENTIAL: return exp(x);
        default: return x;
    }
}

// dy f'(x) for the kinds whose derivative follows from y; for the others (GELU, SOFTPLUS, SOFTSIGN, SWISH) from x.
__device__ __forceinline__ real activate_backward(int kind, real dy, real x, real y, real alpha) {
    switch (kind) {
        case RELU: return y <= 0 ? real(0) : dy;
        case LEAKY_RELU: return y > 0 ? dy : alpha * dy;
        case ELU: return y > 0 ? dy : dy * (y + alpha);
        case SELU: return y > 0 ? real(SELU_SCALE) * dy : dy * (y + real(SELU_SCALE * SELU_ALPHA));
        case GELU: return dy * (normal_cdf(x) + x * (exp(real(-0.5) * x * x) * real(0.3989422804014327)));
        case SIGMOID: return dy * (y * (1 - y));
        case TANH: return dy * (1 - y * y);
        case SOFTPLUS: return dy * sigmoid(x);
        case SOFTSIGN: { real d = 1 + fabs(x); return dy / (d * d); }
        case SWISH: { real s = sigmoid(x); return dy * (s * (1 + x * (1 - s))); }
        case HARD_SIGMOID: return y <= 0 || y >= 1 ? real(0) : dy / 6;
        case EXPONENTIAL: return dy * y;
        default: return dy;
    }
}
