#include "onion.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace reknit {

void peel(Level& level, const LevelView& view, const Kernels& kernels, int samples) {
  constexpr uint8_t kGuessedWeight = 24;
  std::vector<int32_t> sources;
  const int step = std::max(1, level.source_count / samples);
  int seen = 0;
  for (size_t i = 0; i < level.flags.size(); ++i)
    if ((level.flags[i] & kSource) && seen++ % step == 0) sources.push_back(static_cast<int32_t>(i));
  if (sources.empty()) return;
  std::vector<int32_t> left;
  for (int32_t at : level.sites.at)
    if (level.flags[static_cast<size_t>(at)] & kTarget) left.push_back(at);
  for (int32_t at : left) level.weight[static_cast<size_t>(at)] = 0;

  std::vector<int32_t> ring, inner;
  std::vector<uint32_t> values;
  const int s = level.stride;
  const int around[8] = {-s - 1, -s, -s + 1, -1, 1, s - 1, s, s + 1};
  while (!left.empty()) {
    ring.clear();
    inner.clear();
    for (int32_t at : left) {
      bool touches = false;
      for (int d : around) touches |= level.weight[static_cast<size_t>(at + d)] > 0;
      (touches ? ring : inner).push_back(at);
    }
    if (ring.empty()) break;  // walled in by void pixels
    values.resize(ring.size());
    for (size_t k = 0; k < ring.size(); ++k) {
      const int winner = kernels.closest(view, ring[k], sources.data(), static_cast<int>(sources.size()));
      std::memcpy(&values[k], level.pixel(winner), 4);
    }
    for (size_t k = 0; k < ring.size(); ++k) {
      std::memcpy(level.pixel(ring[k]), &values[k], 4);
      level.weight[static_cast<size_t>(ring[k])] = kGuessedWeight;
    }
    left.swap(inner);
  }
  for (int32_t at : left) std::memcpy(level.pixel(at), level.pixel(sources[0]), 4);
}

}  // namespace reknit
