#include "search.hpp"

#include <algorithm>
#include <vector>

namespace reknit {

namespace {

constexpr int kStripSites = 400, kStripRows = 16;  // the least that is worth a strip
constexpr int kMostStrips = 64;
constexpr double kSiteSeconds = 0.25e-6;  // of one site in one pass, about

// The first rows of strips of about as many sites each, and the end of the last. Those of backward passes are
// half a strip further on, so that what ends at a seam of one pass goes on in the next.
std::vector<int> strips(const LevelView& view, bool backward) {
  const int* begin = view.row_begin;
  const int top = static_cast<int>(std::upper_bound(begin, begin + view.height + 1, 0) - begin) - 1;
  const int bottom = static_cast<int>(std::lower_bound(begin, begin + view.height + 1, view.sites) - begin);
  const int count = std::min({kMostStrips, view.sites / kStripSites, (bottom - top) / kStripRows});
  std::vector<int> first = {top};
  for (int k = backward ? 1 : 2; k < 2 * count; k += 2) {
    const int64_t site = static_cast<int64_t>(view.sites) * k / (2 * count);
    const int row = static_cast<int>(std::lower_bound(begin, begin + view.height + 1, site) - begin);
    if (row > first.back() && row < bottom) first.push_back(row);
  }
  first.push_back(bottom);
  return first;
}

}  // namespace

LevelView look(Level& level, const Settings& settings) {
  LevelView v{};
  v.guide = level.guide.data();
  v.flags = level.flags.data();
  v.weight = level.weight.data();
  v.unlike = level.unlike.empty() ? nullptr : level.unlike.data();
  v.away = level.away.data();
  v.foreign_price = static_cast<int>(settings.foreign * 16 * kSide * kSide);
  v.wear = level.wear.empty() ? nullptr : level.wear.data();
  v.wear_price = static_cast<int>(settings.repeats * kSide * kSide * 4);
  v.at = level.sites.at.data();
  v.up = level.sites.up.data();
  v.down = level.sites.down.data();
  v.row_begin = level.sites.row_begin.data();
  v.sites = level.sites.count();
  v.width = level.width;
  v.height = level.height;
  v.stride = level.stride;
  v.core_share = static_cast<int>(256 / (1 + settings.ring));
  constexpr int kAround = kWideSide * kWideSide - kSide * kSide;
  v.ring_share = static_cast<int>(256 * settings.ring / (1 + settings.ring) * kSide * kSide / kAround);
  v.ring_inverse = v.ring_share > 0 ? 256.0f / static_cast<float>(v.ring_share) : 0;
  v.bank_row = static_cast<int>(settings.bank_row / level.scale);
  const bool banked = v.bank_row < level.height;
  const int extent = std::max(level.width, std::min(level.height, v.bank_row));
  const double price = settings.proximity * kSide * kSide * 32 / extent;
  v.proximity_x = static_cast<int>(price * settings.proximity_x * 256);
  v.proximity_y = static_cast<int>(price * 256);
  v.bank_price = static_cast<int>(price * extent / 16);
  // Transformed copies cost the same wherever they are, so with them a random probe may go anywhere.
  v.reach_x = banked || v.proximity_x == 0 ? 1e9f : 256.0f / static_cast<float>(v.proximity_x);
  v.reach_y = banked || v.proximity_y == 0 ? 1e9f : 256.0f / static_cast<float>(v.proximity_y);
  return v;
}

void sweep(const LevelView& view, Field& field, const Pass& pass, const Settings& settings,
           const Kernels& kernels, ThreadPool& pool) {
  const bool backward = pass.number % 2 == 0;
  const std::vector<int> bounds = strips(view, backward);
  const bool several = bounds.size() > 2;
  if (several) {
    field.offset_before = field.offset;
    field.moved_before = field.moved;
  }
  auto strip = [&](int k) {
    Sweep job{};
    job.offset = field.offset.data();
    job.offset_before = several ? field.offset_before.data() : nullptr;
    job.moved_before = several ? field.moved_before.data() : nullptr;
    job.cost = field.cost.data();
    job.first_row = bounds[static_cast<size_t>(k)];
    job.last_row = bounds[static_cast<size_t>(k) + 1];
    job.backward = backward;
    job.rescore = pass.rescore;
    job.radius = pass.radius;
    job.disagreement = disagreement(settings);
    job.disagreement_busy = static_cast<int>(disagreement(settings) * settings.potts_busy);
    job.shifts = pass.shifts ? pass.shifts->data() : nullptr;
    job.shift_count = pass.shifts ? static_cast<int>(pass.shifts->size()) : 0;
    job.seed = pass.seed;
    job.pass = static_cast<uint32_t>(pass.number);
    job.stirred = field.stirred.data();
    job.visited = field.visited.data();
    job.moved = field.moved.data();
    kernels.sweep(view, job);
  };
  pool.run(static_cast<int>(bounds.size()) - 1, strip, kSiteSeconds * view.sites);
}

}  // namespace reknit
