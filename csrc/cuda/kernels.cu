// All kernels in one translation unit: nvcc spends more time on its own headers than on any of them.

#include "cuda/blur.cu"
#include "cuda/jpeg_diff.cu"
#include "cuda/jpeg_libjpeg.cu"
#include "cuda/launch.cu"
#include "cuda/noise.cu"
#include "cuda/point.cu"
#include "cuda/rain.cu"
#include "cuda/resize.cu"
#include "cuda/sharpen.cu"
