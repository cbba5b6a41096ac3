#include "core/isa.h"

#include <cstdlib>
#include <cstring>

#include "ops.h"

namespace pyd {

#define PYD_DECLARE(name, Args) Status name##_cpu(const Args& args);
#if defined(__x86_64__)
namespace v2 { PYD_CPU_FUNCTIONS(PYD_DECLARE) }
namespace v3 { PYD_CPU_FUNCTIONS(PYD_DECLARE) }
namespace v4 { PYD_CPU_FUNCTIONS(PYD_DECLARE) }
#else
namespace base { PYD_CPU_FUNCTIONS(PYD_DECLARE) }
#endif
#undef PYD_DECLARE

namespace {

enum Level { kBase = 0, kV2 = 2, kV3 = 3, kV4 = 4 };

int best_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return kV4;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return kV3;
  return kV2;
#else
  return kBase;
#endif
}

struct Choice {
  int level;
  bool honoured;
};

Choice choose() {
  const int best = best_level();
  const char* request = std::getenv("PYDEGRADE_ISA");
  if (request == nullptr || request[0] == '\0') return {best, true};
  for (int level = kV2; level <= best; ++level) {
    if (request[0] == 'v' && request[1] == '0' + level && request[2] == '\0') return {level, true};
  }
  return {best, best == kBase && std::strcmp(request, "base") == 0};
}

const Choice choice = choose();

}  // namespace

const char* isa_name() {
  switch (choice.level) {
    case kV4: return "v4";
    case kV3: return "v3";
    case kV2: return "v2";
    default: return "base";
  }
}

bool isa_request_honoured() { return choice.honoured; }

#if defined(__x86_64__)
#define PYD_DISPATCH(name, Args)                 \
  Status name##_cpu(const Args& args) {          \
    if (choice.level == kV4) return v4::name##_cpu(args); \
    if (choice.level == kV3) return v3::name##_cpu(args); \
    return v2::name##_cpu(args);                 \
  }
#else
#define PYD_DISPATCH(name, Args) \
  Status name##_cpu(const Args& args) { return base::name##_cpu(args); }
#endif
PYD_CPU_FUNCTIONS(PYD_DISPATCH)
#undef PYD_DISPATCH

}  // namespace pyd
