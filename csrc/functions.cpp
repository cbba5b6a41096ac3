// Sends every call to the loops of the instruction set that runs.

#include "functions.h"

#include "core/isa.h"

namespace pyd {

#define X(name, Args) Status name##_cpu(const Args& args);
#if defined(__x86_64__)
namespace v2 {
PYD_CPU_FUNCTIONS
}
namespace v3 {
PYD_CPU_FUNCTIONS
}
namespace v4 {
PYD_CPU_FUNCTIONS
}
#else
namespace base {
PYD_CPU_FUNCTIONS
}
#endif
#undef X

#if defined(__x86_64__)
#define X(name, Args)                                       \
  Status name##_cpu(const Args& args) {                     \
    if (isa_level() == kIsaV4) return v4::name##_cpu(args); \
    if (isa_level() == kIsaV3) return v3::name##_cpu(args); \
    return v2::name##_cpu(args);                            \
  }
#else
#define X(name, Args) \
  Status name##_cpu(const Args& args) { return base::name##_cpu(args); }
#endif
PYD_CPU_FUNCTIONS
#undef X

}  // namespace pyd
