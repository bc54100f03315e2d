// Long short-term memory: one launch per step, as recurrent.cuh says; and the step after the products by itself, which
// ConvLSTM2D uses. The formulas stand in backends/reference/lstm.py. Gates i, f, n, o lie side by side, H of each.

struct Gates { real i, f, n, o; };

__device__ __forceinline__ Gates load_gates(const real* at, Size H) { return {at[0], at[H], at[2 * H], at[3 * H]}; }

__device__ __forceinline__ void store_gates(real* at, Gates g, Size H) {
    at[0] = g.i; at[H] = g.f; at[2 * H] = g.n; at[3 * H] = g.o;
}

struct States { real h, c; };

// z -> gates, in their place, and the new states.
__device__ __forceinline__ States advance(Gates& z, real old_c, Squash kind, Squash gate) {
    z = {gate(z.i), gate(z.f), kind(z.n), gate(z.o)};
    real c = z.i * z.n + z.f * old_c;
    return {kind(c) * z.o, c};
}

// Gates -> dz, in their place; dc becomes the gradient of the memory before.
__device__ __forceinline__ void retreat(Gates& z, real dh, real& dc, real c, real old_c, Squash kind, Squash gate) {
    real m = kind(c);
    dc += kind.backward(dh * z.o, m);
    Gates d = {gate.backward(dc * z.n, z.i), gate.backward(dc * old_c, z.f), kind.backward(dc * z.i, z.n),
               gate.backward(dh * m, z.o)};
    dc *= z.f;
    z = d;
}

extern "C" __global__ void __launch_bounds__(Forward<4>::THREADS, 2) lstm_step(
    real* h, real* c, real* gates, real* fed, const real* U, const real* b, const real* h0, const real* c0,
    const bool* mask, const real* r, Size N, Size T, Size H, Size kind, double alpha, Size gate, double gate_alpha,
    Size backwards, Size t) {
    using Own = Forward<4>;
    __shared__ Own::Memory memory;
    Step step(t, T, backwards);
    Rows old = step.old(h, h0, H), old_c = step.old(c, c0, H);
    Gates z[Own::EACH_THREAD];  // x W, under way during the product
    real held[Own::EACH_THREAD];
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        Output at = Own::output(i, N, H);
        if (!at.inside) continue;
        z[i] = load_gates(gates + (at.n * T + t) * 4 * H + at.j, H);
        held[i] = old_c.at(at.n, at.j);
    }
    Own::run(memory, step.into(fed, old, N, H), U, 4 * H, H, N, H);
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        one_by_one();
        Output at = Own::output(i, N, H);
        if (!at.inside) continue;
        auto add = [&](real& z, int g) {
            z = z + (memory.total(at.row, g * Own::WIDTH + at.unit) + value_or_zero(b, g * H + at.j));
        };
        add(z[i].i, 0); add(z[i].f, 1); add(z[i].n, 2); add(z[i].o, 3);
        Size place = (at.n * T + t) * H + at.j;
        States now = advance(z[i], held[i], Squash(kind, alpha), Squash(gate, gate_alpha));
        if (!step.counts(mask, at.n)) now = {old.at(at.n, at.j), held[i]};
        store_gates(gates + (at.n * T + t) * 4 * H + at.j, z[i], H);
        h[place] = now.h;
        c[place] = now.c;
        step.feed(fed, r, now.h, N, H, at.n * H + at.j);
    }
}

// gates -> dz of step t. carried and gc (N, H): the gradients that pass by U, in place; at last those of h0 and c0.
extern "C" __global__ void __launch_bounds__(Backward::THREADS, 2) lstm_step_backward(
    real* gates, real* carried, real* gc, const real* dh, const real* dlast, const real* dclast,
    const real* U_transposed, const real* c, const real* c0, const bool* mask, const real* r, Size N, Size T, Size H,
    Size kind, double alpha, Size gate, double gate_alpha, Size backwards, Size t) {
    __shared__ Backward::Memory memory;
    Step step(t, T, backwards);
    Rows before = step.old(c, c0, H);
    Gates z[Backward::EACH_THREAD];  // what is under way during the product
    real past[Backward::EACH_THREAD], dc[Backward::EACH_THREAD];
    real new_c[Backward::EACH_THREAD], old_c[Backward::EACH_THREAD];
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        Size place = at.n * H + at.j;
        past[i] = gradient_past_U(carried, dh, dlast, step, at, H);
        dc[i] = step.last() ? value_or_zero(dclast, place) : gc[place];
        if (step.beyond()) continue;
        z[i] = load_gates(gates + (at.n * T + t) * 4 * H + at.j, H);
        new_c[i] = c[(at.n * T + t) * H + at.j];
        old_c[i] = before.at(at.n, at.j);
    }
    Backward::run(memory, step.rows(gates, step.after(), 4 * H), U_transposed, H, step.last() ? 0 : 4 * H, N, H);
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        Size place = at.n * H + at.j;
        real g = memory.total(at.row, at.unit) * (r ? r[place] : real(1)) + past[i];
        bool counts = !step.beyond() && step.counts(mask, at.n);
        carried[place] = counts ? real(0) : g;
        if (step.beyond()) continue;
        if (counts) retreat(z[i], g, dc[i], new_c[i], old_c[i], Squash(kind, alpha), Squash(gate, gate_alpha));
        else z[i] = {0, 0, 0, 0};  // they may be NaN
        store_gates(gates + (at.n * T + t) * 4 * H + at.j, z[i], H);
        gc[place] = dc[i];
    }
}

extern "C" __global__ void lstm_cell(
    real* h, real* c, real* gates, const real* c0, Size H, Size kind, double alpha, Size gate, double gate_alpha,
    Size n_elements) {
    EACH(i, n_elements) {
        real* at = gates + i / H * 4 * H + i % H;
        Gates z = load_gates(at, H);
        States now = advance(z, value_or_zero(c0, i), Squash(kind, alpha), Squash(gate, gate_alpha));
        store_gates(at, z, H);
        h[i] = now.h;
        c[i] = now.c;
    }
}

// dh, dc, c0 and dc0 may be null, and dc0 may be dc.
extern "C" __global__ void lstm_cell_backward(
    real* gates, real* dc0, const real* dh, const real* dc, const real* c, const real* c0, Size H, Size kind,
    double alpha, Size gate, double gate_alpha, Size n_elements) {
    EACH(i, n_elements) {
        real* at = gates + i / H * 4 * H + i % H;
        Gates z = load_gates(at, H);
        real memory = value_or_zero(dc, i);
        retreat(z, value_or_zero(dh, i), memory, c[i], value_or_zero(c0, i), Squash(kind, alpha),
                Squash(gate, gate_alpha));
        store_gates(at, z, H);
        if (dc0) dc0[i] = memory;
    }
}
