"""The gpu backend on a real card: ``python -m benchmarks.gpu`` measures all of it within ten minutes.

``card``       what the card and the software on it are
``worker``     one contender alone in its process: tinynn on the cpu, on the card, there with jit; PyTorch in a variant
``crew``       the workers' processes, which end with an error or when their time is over, and begin anew
``agreement``  the tests on the card, and the largest error of every row of the table
``accuracy``   the examples' networks, trained for a moment on the cpu and on the card
``training``   training steps: tinynn, PyTorch and our own cpu backend in turns
``crossover``  the size from which on the card is faster than the processor
``kernels``    single kernels beside the card's copy bandwidth
``report``     one table and one picture of all that, also ``python -m benchmarks.compare``
"""
