// An optimizer's state, an array of float64 on the card: in the order of backends/base.py's State. What a step needs to
// know (its number, the learning rate, the scale of the gradients) is read from it in the kernels.

enum State { ITERATIONS, LEARNING_RATE, SQUARES, SCALE, SKIPPED, FIRST_SKIPPED, CALLS, PRODUCT };

// x^n for a whole number n, by squaring: some twenty products, where pow takes hundreds of operations. What the rules
// make of it, 1 - x^n, is as exact.
__device__ __forceinline__ double power(double x, double n) {
    double result = 1;
    for (Size i = (Size)n; i > 0; i /= 2) {
        if (i % 2) result *= x;
        x *= x;
    }
    return result;
}

// Nadam's momentum of step t, u(t) = beta1 (1 - 0.96^t / 2). Dozat, "Incorporating Nesterov momentum into Adam", 2016.
__device__ __forceinline__ double nadam_momentum(double beta1, double t) { return beta1 * (1 - 0.5 * power(0.96, t)); }
