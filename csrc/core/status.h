// Errors below bindings.cpp are values: no exceptions cross an op.
#pragma once

namespace pyd {

enum class Status : int {
  kOk = 0,
  kBadArgument = 1,  // sizes, codes or numbers that an op's legal.h refuses; the bindings find out which and say so
  kOutOfMemory = 2,
  kTooLarge = 3,     // for the CUDA backend, which counts pixels and blocks in 32 bits
  kBadPixels = 4,    // a source value outside [0, 1], or NaN
};

}  // namespace pyd
