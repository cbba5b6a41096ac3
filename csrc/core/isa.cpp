#include "core/isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pyd {
namespace {

enum Word { kLeaf1Ecx, kLeaf7Ebx, kExtendedEcx, kXcr0 };
struct Feature {
  IsaLevel level;
  const char* name;
  Word word;
  uint32_t bits;
};
// System V psABI for x86-64, table 3.1. Registers that the system does not save are as missing as an instruction.
constexpr Feature kFeatures[] = {
    {kIsaV2, "cmpxchg16b", kLeaf1Ecx, 1u << 13}, {kIsaV2, "lahf_sahf", kExtendedEcx, 1u << 0},
    {kIsaV2, "popcnt", kLeaf1Ecx, 1u << 23},     {kIsaV2, "sse3", kLeaf1Ecx, 1u << 0},
    {kIsaV2, "sse4.1", kLeaf1Ecx, 1u << 19},     {kIsaV2, "sse4.2", kLeaf1Ecx, 1u << 20},
    {kIsaV2, "ssse3", kLeaf1Ecx, 1u << 9},       {kIsaV3, "avx", kLeaf1Ecx, 1u << 28},
    {kIsaV3, "avx2", kLeaf7Ebx, 1u << 5},        {kIsaV3, "bmi1", kLeaf7Ebx, 1u << 3},
    {kIsaV3, "bmi2", kLeaf7Ebx, 1u << 8},        {kIsaV3, "f16c", kLeaf1Ecx, 1u << 29},
    {kIsaV3, "fma", kLeaf1Ecx, 1u << 12},        {kIsaV3, "lzcnt", kExtendedEcx, 1u << 5},
    {kIsaV3, "movbe", kLeaf1Ecx, 1u << 22},      {kIsaV3, "osxsave", kLeaf1Ecx, 1u << 27},
    {kIsaV3, "ymm registers", kXcr0, 0x06},      {kIsaV4, "avx512f", kLeaf7Ebx, 1u << 16},
    {kIsaV4, "avx512bw", kLeaf7Ebx, 1u << 30},   {kIsaV4, "avx512cd", kLeaf7Ebx, 1u << 28},
    {kIsaV4, "avx512dq", kLeaf7Ebx, 1u << 17},   {kIsaV4, "avx512vl", kLeaf7Ebx, 1u << 31},
    {kIsaV4, "zmm registers", kXcr0, 0xe0},
};

bool has(const CpuWords& words, const Feature& feature) {
  const uint32_t all[] = {words.leaf1_ecx, words.leaf7_ebx, words.extended_ecx, words.xcr0};
  return (all[feature.word] & feature.bits) == feature.bits;
}

struct Choice {
  IsaLevel level;
  bool honoured;
};

Choice choose() {
#if defined(__x86_64__)
  const IsaLevel best = level_of(cpu_words());
#else
  const IsaLevel best = kIsaBase;
#endif
  const char* request = std::getenv("PYDEGRADE_ISA");
  if (request == nullptr || request[0] == '\0') return {best, true};
  for (int level = kIsaV2; level <= best; ++level) {
    if (std::strcmp(request, isa_name(static_cast<IsaLevel>(level))) == 0) return {static_cast<IsaLevel>(level), true};
  }
  return {best, best == kIsaBase && std::strcmp(request, "base") == 0};
}

const Choice choice = choose();

}  // namespace

CpuWords cpu_words() {
  CpuWords words = {};
#if defined(__x86_64__)
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) words.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) words.leaf7_ebx = ebx;
  if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0) words.extended_ecx = ecx;
  // Without osxsave the instruction does not exist.
  if ((words.leaf1_ecx & 1u << 27) != 0) __asm__ volatile("xgetbv" : "=a"(words.xcr0), "=d"(edx) : "c"(0));
#endif
  return words;
}

IsaLevel level_of(const CpuWords& words) {
  int level = kIsaV4;
  for (const Feature& feature : kFeatures) {
    if (!has(words, feature) && feature.level <= level) level = feature.level - 1;
  }
  return static_cast<IsaLevel>(level);
}

std::string missing_features(const CpuWords& words, IsaLevel level) {
  std::string names;
  for (const Feature& feature : kFeatures) {
    if (feature.level > level || has(words, feature)) continue;
    names += (names.empty() ? "" : ", ") + std::string(feature.name);
  }
  return names;
}

IsaLevel isa_level() { return choice.level; }

const char* isa_name(IsaLevel level) {
  switch (level) {
    case kIsaV4: return "v4";
    case kIsaV3: return "v3";
    case kIsaV2: return "v2";
    case kIsaBase: return "base";
    default: return "none";
  }
}

bool isa_request_honoured() { return choice.honoured; }

}  // namespace pyd
