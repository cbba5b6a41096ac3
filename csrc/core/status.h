// Errors below bindings.cpp are values: no exceptions cross an op.
#pragma once

namespace pyd {

enum class Status : int {
  kOk = 0,
  kBadArgument = 1,   // sizes or codes that would corrupt memory; Python has validated everything else
  kOutOfMemory = 2,
  kUnsupported = 3,
  kBadPixels = 4,     // a source value outside [0, 1], or NaN
};

}  // namespace pyd
