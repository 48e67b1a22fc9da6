# pyproject.toml as the GPU image wants it: the TensorFlow that holds CUDA's kernels, and CUDA's libraries.
# A distribution cannot say "the one or the other", so a build for GPUs says so before it is made.
s/"tensorflow-cpu>/"tensorflow[and-cuda]>/
