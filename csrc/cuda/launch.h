// One function per kernel: 0, kAnotherBuild, or an error code of the CUDA runtime (of the emulator).
#pragma once

#include "cuda/program.h"

namespace pyd {

#define X(name, threads, blocks) int launch_##name(const Bases& bases, const Launch& launch, void* stream);
PYD_KERNELS
#undef X

}  // namespace pyd
