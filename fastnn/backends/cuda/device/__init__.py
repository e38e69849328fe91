"""Kernels for the GPU, and the helpers that launch them."""
