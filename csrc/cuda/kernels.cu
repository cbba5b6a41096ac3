// All kernels in one translation unit: nvcc spends more time on its own headers than on any of them. Those of the ops come
// from the command line (-include of every csrc/ops/*/*kernel.cu), so that an op is its folder.

#include "cuda/launch.cu"
#include "cuda/point.cu"
