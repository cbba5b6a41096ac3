// Which of the compiled instruction sets runs.
#pragma once

namespace pyd {

enum IsaLevel : int { kIsaBase = 0, kIsaV2 = 2, kIsaV3 = 3, kIsaV4 = 4 };
IsaLevel isa_level();

// "v2", "v3", "v4" on x86-64 (the psABI levels), "base" elsewhere. Chosen once, at load; PYDEGRADE_ISA in the environment
// forces a lower one.
const char* isa_name();

// False when PYDEGRADE_ISA names a level that this build or this processor lacks.
bool isa_request_honoured();

}  // namespace pyd
