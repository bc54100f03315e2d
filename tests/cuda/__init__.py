"""CUDA without a card: CuPy's manners over host memory, and kernels that run thread by thread on the CPU.

``standin`` is the module that stands in for ``cupy``; ``emulator.h`` with ``emulator.py`` compiles the library's CUDA
sources as C++ and runs them; ``nvrtc`` compiles them for real cards.
"""
