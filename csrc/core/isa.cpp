#include "core/isa.h"

#include <cstdlib>
#include <cstring>

namespace pyd {

namespace {

int best_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return kIsaV4;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return kIsaV3;
  return kIsaV2;
#else
  return kIsaBase;
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
  for (int level = kIsaV2; level <= best; ++level) {
    if (request[0] == 'v' && request[1] == '0' + level && request[2] == '\0') return {level, true};
  }
  return {best, best == kIsaBase && std::strcmp(request, "base") == 0};
}

const Choice choice = choose();

}  // namespace

IsaLevel isa_level() { return static_cast<IsaLevel>(choice.level); }

const char* isa_name() {
  switch (choice.level) {
    case kIsaV4: return "v4";
    case kIsaV3: return "v3";
    case kIsaV2: return "v2";
    default: return "base";
  }
}

bool isa_request_honoured() { return choice.honoured; }

}  // namespace pyd
