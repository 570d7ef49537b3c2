#include "onion.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "field.hpp"
#include "random.hpp"

namespace reknit {

namespace {

constexpr uint8_t kGuessedWeight = 24;
constexpr int64_t kBudget = 30000000;  // patches looked at by one peeling
constexpr int kNearPx = 48;
constexpr int kGrain = 8;                // pixels of a tile
constexpr double kPatchSeconds = 10e-9;  // of one patch that is looked at, about

// Every so many-th source of the level, the first by chance.
std::vector<Spot> spread_sources(const Level& level, int samples, uint32_t seed) {
  std::vector<Spot> sources;
  const int step = std::max(1, level.source_count / samples);
  int seen = static_cast<int>(mix(seed, 5, 9) % static_cast<uint32_t>(step));
  for (int y = kRadius; y < level.height - kRadius; ++y) {
    int at = level.index(kRadius, y);
    for (int x = kRadius; x < level.width - kRadius; ++x, ++at)
      if ((level.flags[static_cast<size_t>(at)] & kSource) && seen++ % step == 0)
        sources.push_back({at, x, y});
  }
  return sources;
}

// Adds random sources near a pixel: what a level with too many pixels to compare with everything makes do
// with.
void add_near_sources(const Level& level, int at, int tries, std::vector<Spot>& sources) {
  const int x = level.column(at), y = level.row(at);
  uint32_t random = random_state(static_cast<uint32_t>(x), static_cast<uint32_t>(y), 77);
  for (int k = 0; k < tries; ++k) {
    const int u = draw(random, std::max(0, x - kNearPx), std::min(level.width - 1, x + kNearPx));
    const int v = draw(random, std::max(0, y - kNearPx), std::min(level.height - 1, y + kNearPx));
    const int source = level.index(u, v);
    if (level.flags[static_cast<size_t>(source)] & kSource) sources.push_back({source, u, v});
  }
}

// Where a pixel's like may be found by the shifts at which the picture repeats itself.
std::vector<Spot> shifted(const Level& level, int at, const std::vector<int32_t>& shifts) {
  std::vector<Spot> found;
  const int x = level.column(at), y = level.row(at);
  for (int32_t shift : shifts) {
    const int u = x + offset_x(shift), v = y + offset_y(shift);
    if (u < 0 || v < 0 || u >= level.width || v >= level.height) continue;
    const int source = level.index(u, v);
    if (level.flags[static_cast<size_t>(source)] & kSource) found.push_back({source, u, v});
  }
  return found;
}

}  // namespace

void peel(Level& level, const LevelView& view, const Kernels& kernels, int samples,
          const std::vector<int32_t>& shifts, double bias, uint32_t seed, ThreadPool& pool) {
  std::vector<Spot> sources = spread_sources(level, samples, seed);
  if (sources.empty()) return;
  std::vector<int32_t> left;
  for (int32_t at : level.sites.at)
    if (level.flags[static_cast<size_t>(at)] & kTarget) left.push_back(at);
  for (int32_t at : left) level.weight[static_cast<size_t>(at)] = 0;

  const int64_t tries = kBudget / std::max<int64_t>(1, static_cast<int64_t>(left.size()));
  const bool all = tries >= static_cast<int64_t>(sources.size());
  if (!all) sources = spread_sources(level, 16, seed);

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
    auto guess = [&](int pixel) {
      const size_t k = static_cast<size_t>(pixel);
      std::vector<Spot> near;
      if (!all) {
        near.assign(sources.begin(), sources.end());
        add_near_sources(level, ring[k], static_cast<int>(std::max<int64_t>(tries, 24)), near);
      }
      const std::vector<Spot>& some = all ? sources : near;
      int winner = kernels.closest(view, ring[k], some.data(), static_cast<int>(some.size()));
      const std::vector<Spot> likely = shifted(level, ring[k], shifts);
      const int repeated = kernels.closest(view, ring[k], likely.data(), static_cast<int>(likely.size()));
      if (repeated >= 0 &&
          kernels.cost(view, ring[k], repeated) <= bias * kernels.cost(view, ring[k], winner) + 2000)
        winner = repeated;
      std::memcpy(&values[k], level.pixel(winner), 4);
    };
    pool.each(0, static_cast<int>(ring.size()), kGrain, guess,
              kPatchSeconds * static_cast<double>(std::max<int64_t>(all ? sources.size() : tries, 24)));
    for (size_t k = 0; k < ring.size(); ++k) {
      std::memcpy(level.pixel(ring[k]), &values[k], 4);
      level.weight[static_cast<size_t>(ring[k])] = kGuessedWeight;
    }
    left.swap(inner);
  }
  for (int32_t at : left) std::memcpy(level.pixel(at), level.pixel(sources[0].at), 4);
}

}  // namespace reknit
