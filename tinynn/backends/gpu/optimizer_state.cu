// What works on an optimizer's state alone, in float64 whatever the weights are: one thread each, or one block.

// state[SQUARES] += the sum of `count` partial sums, in an order that follows from their number. One block.
extern "C" __global__ void add_squares(double* state, const double* parts, Size count) {
    double total = 0;
    for (Size i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
    total = block_reduce(total);
    if (threadIdx.x == 0) state[SQUARES] += total;
}

extern "C" __global__ void begin(double* state, double global_clipnorm, double limit) {
    if (threadIdx.x != 0) return;
    double squares = state[SQUARES], rate = state[LEARNING_RATE];
    if (isfinite(squares) && squares <= limit && isfinite(rate) && rate >= 0) {
        double length = sqrt(squares);
        state[SCALE] = length > global_clipnorm ? global_clipnorm / length : 1.0;
        state[ITERATIONS] += 1;
    } else {
        state[SCALE] = 0;
        state[SKIPPED] += 1;
        if (!(state[FIRST_SKIPPED] >= 0)) state[FIRST_SKIPPED] = state[CALLS];
    }
    state[CALLS] += 1;
}

extern "C" __global__ void nadam_begin(double* state, double beta1) {
    if (threadIdx.x == 0 && state[SCALE] > 0) state[PRODUCT] *= nadam_momentum(beta1, state[ITERATIONS]);
}
