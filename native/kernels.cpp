#include "kernels.hpp"

#include <stdexcept>

#if defined(REKNIT_AVX2) && defined(_MSC_VER)
#include <intrin.h>
#endif

namespace reknit {

namespace baseline {
extern const Kernels table;
}
#if defined(REKNIT_AVX2)
namespace avx2 {
extern const Kernels table;
}
#endif

namespace {

#if defined(REKNIT_AVX2)
bool has_avx2() {
#if defined(_MSC_VER)
  int leaf[4];
  __cpuid(leaf, 0);
  if (leaf[0] < 7) return false;
  __cpuid(leaf, 1);
  const bool saved_by_system = (leaf[2] & (1 << 27)) && (_xgetbv(0) & 6) == 6;
  __cpuidex(leaf, 7, 0);
  return saved_by_system && (leaf[1] & (1 << 5));
#else
  return __builtin_cpu_supports("avx2");
#endif
}
#endif

struct Variant {
  const char* name;
  const Kernels* table;
};

std::vector<Variant> variants() {
  std::vector<Variant> found{{"baseline", &baseline::table}};
#if defined(REKNIT_AVX2)
  if (has_avx2()) found.push_back({"avx2", &avx2::table});
#endif
  return found;
}

}  // namespace

std::vector<std::string> runnable_kernels() {
  std::vector<std::string> names;
  for (const Variant& v : variants()) names.emplace_back(v.name);
  return names;
}

const Kernels& kernels(const std::string& name) {
  const std::vector<Variant> found = variants();
  if (name.empty()) return *found.back().table;
  for (const Variant& v : found)
    if (name == v.name) return *v.table;
  throw std::invalid_argument("no kernels named " + name + " can run on this machine");
}

}  // namespace reknit
