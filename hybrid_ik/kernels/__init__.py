"""Compiled kernels: the mathematics of one arm, recorded as a straight-line program and run in SIMD lanes."""
