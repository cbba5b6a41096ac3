// Which of the compiled instruction sets runs.
#pragma once

#include <cstdint>
#include <string>

namespace pyd {

// The levels of the x86-64 psABI, and what runs elsewhere. kIsaNone: not even v2, so nothing here can run.
enum IsaLevel : int { kIsaNone = 1, kIsaBase = 0, kIsaV2 = 2, kIsaV3 = 3, kIsaV4 = 4 };

// What an x86-64 processor and its system say of themselves.
struct CpuWords {
  uint32_t leaf1_ecx;     // cpuid 1
  uint32_t leaf7_ebx;     // cpuid 7, 0
  uint32_t extended_ecx;  // cpuid 0x80000001
  uint32_t xcr0;          // xgetbv 0: which registers the system saves
};
CpuWords cpu_words();

// The highest level whose features are all there, by the psABI's own lists and not by those of the compiler's runtime.
IsaLevel level_of(const CpuWords& words);
// Names of the features of a level that are missing, of the lower levels too, with ", " between them.
std::string missing_features(const CpuWords& words, IsaLevel level);

// Chosen once, at load; PYDEGRADE_ISA in the environment forces a lower one.
IsaLevel isa_level();

// "v2", "v3", "v4", "base" or "none".
const char* isa_name(IsaLevel level);

// False when PYDEGRADE_ISA names a level that this build or this processor lacks.
bool isa_request_honoured();

}  // namespace pyd
