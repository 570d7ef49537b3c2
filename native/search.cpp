#include "search.hpp"

#include <algorithm>

namespace reknit {

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
  constexpr int kStripRows = 32;
  const bool backward = pass.number % 2 == 0;
  const int shift = backward ? kStripRows / 2 : 0;
  const int strips = (view.height + shift + kStripRows - 1) / kStripRows;
  pool.run(strips, [&](int strip) {
    Sweep job{};
    job.offset = field.offset.data();
    job.cost = field.cost.data();
    job.first_row = std::max(0, strip * kStripRows - shift);
    job.last_row = std::min(view.height, (strip + 1) * kStripRows - shift);
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
  });
}

}  // namespace reknit
