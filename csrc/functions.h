// Every function that the bindings call. Those of the CPU exist once per instruction set (functions.cpp chooses); what has
// a CUDA form also becomes a program (cuda/program.h): everything that can be settled without the pixels, in one block of
// bytes. There, addresses of pixels are not looked at; the program gets them when it runs.
#pragma once

#include "chain/chain.h"
#include "cpu/diffuse.h"
#include "cpu/median.h"
#include "cpu/pixels.h"
#include "ops/blur/psf_fields.h"
#include "ops/resize/imresize_fields.h"

// X(name, argument struct), X to be defined where the lists are used.
#define PYD_FORWARD(name, Name, ...) X(name, Batch<Name##Params>)
#define PYD_ADJOINT(name, Name, code, adjoint, traits) PYD_IF(adjoint, X(name##_adjoint, Batch<Name##Params>))
#define PYD_CUDA_FUNCTIONS PYD_OPS(PYD_FORWARD) PYD_OPS(PYD_ADJOINT) X(chain, ChainArgs)
#define PYD_CPU_FUNCTIONS               \
  PYD_CUDA_FUNCTIONS                    \
  X(psf, PsfArgs)                       \
  X(imresize, ImresizeArgs)             \
  X(imresize_adjoint, ImresizeArgs)     \
  X(imresize_taps, ImresizeTapsArgs)    \
  X(planes_of_bytes, PlanesOfBytesArgs) \
  X(bytes_of_planes, BytesOfPlanesArgs) \
  X(yuv_of_planes, YuvOfPlanesArgs)     \
  X(planes_of_yuv, PlanesOfYuvArgs)     \
  X(diffuse, DiffuseArgs)               \
  X(median, MedianArgs)

namespace pyd {

#define X(name, Args) Status name##_cpu(const Args& args);
PYD_CPU_FUNCTIONS
#undef X

struct Program;
#define X(name, Args) Status name##_cuda(const Args& args, Program& program);
PYD_CUDA_FUNCTIONS
#undef X

}  // namespace pyd
