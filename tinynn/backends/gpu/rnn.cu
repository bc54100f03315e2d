// Simple recurrence: one launch per step, as recurrent.cuh says. The formulas stand in backends/reference/rnn.py.

// h holds x W in the place of the new state.
extern "C" __global__ void __launch_bounds__(Forward<1>::THREADS, 2) rnn_step(
    real* h, real* fed, const real* U, const real* b, const real* h0, const bool* mask, const real* r, Size N, Size T,
    Size H, Size kind, double alpha, Size backwards, Size t) {
    using Own = Forward<1>;
    __shared__ Own::Memory memory;
    Step step(t, T, backwards);
    Rows old = step.old(h, h0, H);
    real z[Own::EACH_THREAD];  // x W, under way during the product
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        Output at = Own::output(i, N, H);
        if (at.inside) z[i] = h[(at.n * T + t) * H + at.j] + value_or_zero(b, at.j);
    }
    Own::run(memory, step.into(fed, old, N, H), U, H, H, N, H);
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        one_by_one();
        Output at = Own::output(i, N, H);
        if (!at.inside) continue;
        real now = step.counts(mask, at.n) ? Squash(kind, alpha)(z[i] + memory.total(at.row, at.unit))
                                           : old.at(at.n, at.j);
        h[(at.n * T + t) * H + at.j] = now;
        step.feed(fed, r, now, N, H, at.n * H + at.j);
    }
}

// dz (N, T, H) of step t. carried (N, H): the gradient that passes by U, in place; at last that of h0.
extern "C" __global__ void __launch_bounds__(Backward::THREADS, 2) rnn_step_backward(
    real* dz, real* carried, const real* dh, const real* dlast, const real* U_transposed, const real* h,
    const bool* mask, const real* r, Size N, Size T, Size H, Size kind, double alpha, Size backwards, Size t) {
    __shared__ Backward::Memory memory;
    Step step(t, T, backwards);
    real past[Backward::EACH_THREAD], new_h[Backward::EACH_THREAD];  // under way during the product
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        past[i] = gradient_past_U(carried, dh, dlast, step, at, H);
        if (!step.beyond()) new_h[i] = h[(at.n * T + t) * H + at.j];
    }
    Backward::run(memory, step.rows(dz, step.after(), H), U_transposed, H, step.last() ? 0 : H, N, H);
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        real g = memory.total(at.row, at.unit) * (r ? r[at.n * H + at.j] : real(1)) + past[i];
        bool counts = !step.beyond() && step.counts(mask, at.n);
        carried[at.n * H + at.j] = counts ? real(0) : g;
        if (!step.beyond())
            dz[(at.n * T + t) * H + at.j] = counts ? Squash(kind, alpha).backward(g, new_h[i]) : real(0);
    }
}
