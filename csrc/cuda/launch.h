// One function per kernel: 0, or an error code of the CUDA runtime (of the emulator).
#pragma once

#include "cuda/program.h"

namespace pyd {

#define PYD_DECLARE(name, threads, blocks) int launch_##name(const Bases& bases, const Launch& launch, void* stream);
PYD_KERNELS(PYD_DECLARE)
#undef PYD_DECLARE

}  // namespace pyd
