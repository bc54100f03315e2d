// The matrix of what each output of a convolution sees, written down; and back, by gathering, to the images.

// columns (groups, N OH OW, KH KW C / groups): what each output sees.
extern "C" __global__ void im2col(real* columns, const real* x, GEOMETRY, Size n_elements) {
    Geometry g = GIVEN_GEOMETRY;
    Size outputs = g.N * g.OH * g.OW;
    EACH(e, n_elements) {
        Size n = e;
        int c = take(n, g.c), v = take(n, g.KW), u = take(n, g.KH), group = (int)(n / outputs);
        n -= group * outputs;
        int w = take(n, g.OW) * g.stride_w + v * g.dilation_w - g.left;
        int h = take(n, g.OH) * g.stride_h + u * g.dilation_h - g.top;
        bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W;
        columns[e] = inside ? x[((n * g.H + h) * g.W + w) * g.C + group * g.c + c] : real(0);
    }
}

// dx = the sums, over the outputs that see an input, of their columns.
extern "C" __global__ void col2im(real* dx, const real* columns, GEOMETRY, Size n_elements) {
    Geometry g = GIVEN_GEOMETRY;
    Size outputs = g.N * g.OH * g.OW;
    EACH(e, n_elements) {
        Size n = e;
        int channel = take(n, g.C), w = take(n, g.W), h = take(n, g.H), group = channel / g.c;
        real sum = 0;
        Size first = group * outputs + n * g.OH * g.OW;  // of the image
        each_output(g, h, w, [&](Size output, int tap) {
            sum += columns[((first + output) * g.KH * g.KW + tap) * g.c + channel % g.c];
        });
        dx[e] = sum;
    }
}
