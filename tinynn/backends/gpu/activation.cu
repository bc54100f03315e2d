// y = f(x) and dx = dy f'(x), element by element; the functions stand in activations.cuh.

extern "C" __global__ void activation_forward(real* y, const real* x, Size kind, double alpha, Size n) {
    EACH(i, n) y[i] = activate((int)kind, x[i], (real)alpha);
}

// x may be null for the kinds whose derivative follows from y.
extern "C" __global__ void activation_backward(
    real* dx, const real* dy, const real* x, const real* y, Size kind, double alpha, Size n) {
    EACH(i, n) dx[i] = activate_backward((int)kind, dy[i], x ? x[i] : real(0), y[i], (real)alpha);
}
