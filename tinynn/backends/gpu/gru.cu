// Gated recurrent unit, as recurrent.cuh says. The formulas stand in backends/reference/gru.py. Gates z, r, n lie side
// by side, H of each. With reset_after a step is one launch. Without, the product with U_n needs r of all units, and so
// does, on the way back, the gradient of r: two launches.

// reset_after: all gates and the new state.
extern "C" __global__ void __launch_bounds__(Forward<3>::THREADS, 2) gru_step(
    real* h, real* gates, real* inner, real* fed, const real* U, const real* b, const real* bu, const real* h0,
    const bool* mask, const real* keep, Size N, Size T, Size H, Size kind, double alpha, Size gate, double gate_alpha,
    Size backwards, Size t) {
    using Own = Forward<3>;
    __shared__ Own::Memory memory;
    Step step(t, T, backwards);
    Rows old = step.old(h, h0, H);
    real x[Own::EACH_THREAD][3];  // x W + b, under way during the product
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        Output at = Own::output(i, N, H);
        if (at.inside)
            for (int g = 0; g < 3; g++)
                x[i][g] = gates[((at.n * T + t) * 3 + g) * H + at.j] + value_or_zero(b, g * H + at.j);
    }
    Own::run(memory, step.into(fed, old, N, H), U, 3 * H, H, N, H);
    Squash a(kind, alpha), s(gate, gate_alpha);
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        one_by_one();
        Output at = Own::output(i, N, H);
        if (!at.inside) continue;
        auto u = [&](int g) {
            return memory.total(at.row, g * Own::WIDTH + at.unit) + value_or_zero(bu, g * H + at.j);
        };
        Size place = (at.n * T + t) * H + at.j;
        real* own = gates + (at.n * T + t) * 3 * H + at.j;
        real before = old.at(at.n, at.j), product = u(2);
        real z = s(x[i][0] + u(0)), r = s(x[i][1] + u(1)), n = a(x[i][2] + r * product);
        own[0] = z; own[H] = r; own[2 * H] = n;
        inner[place] = product;
        real now = step.counts(mask, at.n) ? z * before + (1 - z) * n : before;
        h[place] = now;
        step.feed(fed, keep, now, N, H, at.n * H + at.j);
    }
}

// Not reset_after, first half: the gates z and r, and inner = r h'.
extern "C" __global__ void __launch_bounds__(Forward<2>::THREADS, 2) gru_gates(
    real* gates, real* inner, const real* fed, const real* U, const real* b, const real* h, const real* h0, Size N,
    Size T, Size H, Size gate, double gate_alpha, Size backwards, Size t) {
    using Own = Forward<2>;
    __shared__ Own::Memory memory;
    Step step(t, T, backwards);
    Rows state = step.into(fed, step.old(h, h0, H), N, H);
    Own::run(memory, state, U, 3 * H, H, N, H);
    Squash s(gate, gate_alpha);
#pragma unroll
    for (int i = 0; i < Own::EACH_THREAD; i++) {
        one_by_one();
        Output at = Own::output(i, N, H);
        if (!at.inside) continue;
        real* own = gates + (at.n * T + t) * 3 * H + at.j;
        real z = s(own[0] + (memory.total(at.row, at.unit) + value_or_zero(b, at.j)));
        real r = s(own[H] + (memory.total(at.row, Own::WIDTH + at.unit) + value_or_zero(b, H + at.j)));
        own[0] = z; own[H] = r;
        inner[(at.n * T + t) * H + at.j] = r * state.at(at.n, at.j);
    }
}

// The second half: the gate n and the new state. The tile is the one of a single group.
extern "C" __global__ void __launch_bounds__(Backward::THREADS, 2) gru_state(
    real* h, real* gates, const real* inner, real* fed, const real* U, const real* b, const real* h0, const bool* mask,
    const real* keep, Size N, Size T, Size H, Size kind, double alpha, Size backwards, Size t) {
    __shared__ Backward::Memory memory;
    Step step(t, T, backwards);
    Rows old = step.old(h, h0, H);
    Backward::run(memory, step.rows(inner, t, H), U + 2 * H, 3 * H, H, N, H);
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        real* own = gates + (at.n * T + t) * 3 * H + at.j;
        real n = Squash(kind, alpha)(
            own[2 * H] + (memory.total(at.row, at.unit) + value_or_zero(b, 2 * H + at.j)));
        real z = own[0], before = old.at(at.n, at.j);
        own[2 * H] = n;
        real now = step.counts(mask, at.n) ? z * before + (1 - z) * n : before;
        h[(at.n * T + t) * H + at.j] = now;
        step.feed(fed, keep, now, N, H, at.n * H + at.j);
    }
}

// gates -> (dz, dr, dn) of step t, and du (N, T, 3H) = (dz, dr, dn r), the gradient of h' U + bu. Where du is null, not
// reset_after, dr is left to gru_reset_backward. carried (N, H): the gradient that passes by U; at last that of h0.
extern "C" __global__ void __launch_bounds__(Backward::THREADS, 2) gru_step_backward(
    real* gates, real* du, real* carried, const real* dh, const real* dlast, const real* U_transposed, const real* h,
    const real* h0, const real* inner, const bool* mask, const real* keep, Size N, Size T, Size H, Size kind,
    double alpha, Size gate, double gate_alpha, Size backwards, Size t) {
    __shared__ Backward::Memory memory;
    Step step(t, T, backwards);
    Rows before = step.old(h, h0, H);
    real past[Backward::EACH_THREAD], old[Backward::EACH_THREAD];  // under way during the product
    real z[Backward::EACH_THREAD], r[Backward::EACH_THREAD], n[Backward::EACH_THREAD];
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        past[i] = gradient_past_U(carried, dh, dlast, step, at, H);
        if (step.beyond()) continue;
        const real* own = gates + (at.n * T + t) * 3 * H + at.j;
        z[i] = own[0]; r[i] = own[H]; n[i] = own[2 * H];
        old[i] = before.at(at.n, at.j);
    }
    Size depth = step.last() ? 0 : du ? 3 * H : 2 * H;
    Backward::run(memory, step.rows(du ? du : gates, step.after(), 3 * H), U_transposed, H, depth, N, H);
    Squash a(kind, alpha), s(gate, gate_alpha);
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        real g = memory.total(at.row, at.unit) * (keep ? keep[at.n * H + at.j] : real(1)) + past[i];
        bool counts = !step.beyond() && step.counts(mask, at.n);
        carried[at.n * H + at.j] = counts ? g * z[i] : g;
        if (step.beyond()) continue;
        real dz = 0, dr = 0, dn = 0, through_r = 0;  // of a step that does not count: its gates may be NaN
        if (counts) {
            dn = a.backward(g * (1 - z[i]), n[i]);
            dz = s.backward(g * (old[i] - n[i]), z[i]);
            if (du) {
                dr = s.backward(dn * inner[(at.n * T + t) * H + at.j], r[i]);
                through_r = dn * r[i];
            }
        }
        Size place = (at.n * T + t) * 3 * H + at.j;
        gates[place] = dz; gates[place + 2 * H] = dn;
        if (du) {
            gates[place + H] = dr;
            du[place] = dz; du[place + H] = dr; du[place + 2 * H] = through_r;
        }
    }
}

// Not reset_after: e = dn U_n', dr = e h' s'(r), and the state before gets keep e r.
extern "C" __global__ void __launch_bounds__(Backward::THREADS, 2) gru_reset_backward(
    real* gates, real* inner, real* carried, const real* Un_transposed, const real* h, const real* h0, const bool* mask,
    const real* keep, Size N, Size T, Size H, Size gate, double gate_alpha, Size backwards, Size t) {
    __shared__ Backward::Memory memory;
    Step step(t, T, backwards);
    Backward::run(memory, step.rows(gates + 2 * H, t, 3 * H), Un_transposed, H, H, N, H);
#pragma unroll
    for (int i = 0; i < Backward::EACH_THREAD; i++) {
        one_by_one();
        Output at = Backward::output(i, N, H);
        if (!at.inside) continue;
        Size place = at.n * H + at.j;
        real& own = gates[(at.n * T + t) * 3 * H + H + at.j];
        if (step.counts(mask, at.n)) {
            real e = memory.total(at.row, at.unit), r = own, factor = keep ? keep[place] : real(1);
            own = Squash(gate, gate_alpha).backward(e * (step.old(h, h0, H).at(at.n, at.j) * factor), r);
            carried[place] += e * r * factor;
        } else {
            own = inner[(at.n * T + t) * H + at.j] = 0;  // they may be NaN
        }
    }
}
