#include "vote.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

namespace reknit {

namespace {

constexpr int kSteps = 32;         // table entries per unit of the exponent
constexpr int kCut = 30 * kSteps;  // exp(−30) is as good as nothing

constexpr int kGrain = 1024;                                    // sites of a tile
constexpr double kVoteSeconds = 0.1e-6, kShareSeconds = 30e-9;  // of one site, about

// exp(−k / kSteps), by multiplication: the same on every platform.
const std::array<float, kCut + 1>& falling_exponential() {
  static const std::array<float, kCut + 1> table = [] {
    std::array<float, kCut + 1> t{};
    double v = 1;
    for (float& entry : t) {
      entry = static_cast<float>(v);
      v *= 0.96923323447634413;
    }
    return t;
  }();
  return table;
}

struct Total {
  int64_t cost = 0;
  int count = 0;
};

// The cost of up to five sites in a row around site i.
Total row_total(const Sites& s, const Field& f, int i) {
  Total t;
  auto add = [&](int j) {
    if (f.offset[static_cast<size_t>(j)] == kNowhere) return;
    t.cost += f.cost[static_cast<size_t>(j)];
    ++t.count;
  };
  add(i);
  for (int j = i; j > i - kRadius && s.left(j); --j) add(j - 1);
  for (int j = i; j < i + kRadius && s.right(j); ++j) add(j + 1);
  return t;
}

}  // namespace

std::vector<float> vote_shares(const Level& level, const Field& field, double decay, double sigma, bool flat,
                               ThreadPool& pool) {
  const Sites& s = level.sites;
  const size_t n = static_cast<size_t>(s.count());
  std::array<float, 256> by_depth;
  const double step = std::sqrt(1 / decay);
  double v = 1;
  for (float& entry : by_depth) {
    entry = static_cast<float>(v);
    v = std::max(v * step, 1e-30);
  }
  std::vector<float> share(n);
  if (flat) {
    for (size_t i = 0; i < n; ++i) share[i] = by_depth[s.depth[i]];
    return share;
  }
  std::vector<Total> rows(n);
  pool.each(
      0, s.count(), kGrain, [&](int i) { rows[static_cast<size_t>(i)] = row_total(s, field, i); },
      kShareSeconds);
  const auto& exponential = falling_exponential();
  auto weigh = [&](int site) {
    const size_t i = static_cast<size_t>(site);
    if (field.offset[i] == kNowhere) return;
    Total t = rows[i];
    int up = site, down = site;
    for (int k = 0; k < kRadius; ++k) {
      if (up >= 0) up = s.up[static_cast<size_t>(up)];
      if (down >= 0) down = s.down[static_cast<size_t>(down)];
      for (int j : {up, down}) {
        if (j < 0) continue;
        t.cost += rows[static_cast<size_t>(j)].cost;
        t.count += rows[static_cast<size_t>(j)].count;
      }
    }
    const float scale =
        static_cast<float>(kSteps) /
        (2 * static_cast<float>(sigma) * static_cast<float>(t.cost) / static_cast<float>(t.count) + 1);
    const float exponent = std::min(static_cast<float>(kCut), static_cast<float>(field.cost[i]) * scale);
    share[i] = by_depth[s.depth[i]] * exponential[static_cast<size_t>(exponent)];
  };
  pool.each(0, s.count(), kGrain, weigh, kShareSeconds);
  return share;
}

double vote(Level& level, const LevelView& view, Field& field, bool flat, const Settings& settings,
            const Kernels& kernels, ThreadPool& pool) {
  const std::vector<float> share = vote_shares(level, field, settings.vote_decay, settings.sigma, flat, pool);
  std::vector<uint8_t> changed(share.size(), 0);
  std::atomic<int64_t> change{0}, pixels{0};
  auto vote_some = [&](int first, int last) {
    int64_t n = 0;
    change += kernels.vote(
        view, {field.offset.data(), share.data(), changed.data(), settings.tolerance, first, last}, n);
    pixels += n;
  };
  pool.split(0, level.sites.count(), kGrain, vote_some, kVoteSeconds);
  if (!flat) stir(level.sites, changed, field, pool);
  return pixels ? static_cast<double>(change) / (3.0 * static_cast<double>(pixels)) : 0;
}

}  // namespace reknit
