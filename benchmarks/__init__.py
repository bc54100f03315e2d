"""Speed, measured honestly: ``python -m benchmarks`` times whole training steps against PyTorch.

``cases/``   the table of named workloads, one file per row of the grid
``worker``   one contender (tinynn, or PyTorch in one variant) alone in its own process
``harness``  rounds of interleaved samples, guarded against other work on the machine
``report``   medians of per-round ratios, the comparison of the losses, the table and the JSON
``kernels``  every convolution, pool and normalization of the networks, pass by pass, beside the processor's peak
``memory``   resident memory of training steps
``startup``  the first step with an empty cache of kernels, the first step of a second process, what was compiled
``overhead`` microseconds of our own Python, apart from all arithmetic
``gemm``     matrix products beside NumPy's
``gpu``      everything that needs a card, in one run: ``python -m benchmarks.gpu``
``compare``  one table and one picture of that run, CPU against GPU
"""
