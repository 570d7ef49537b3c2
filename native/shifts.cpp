#include "shifts.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdlib>

#include "field.hpp"
#include "random.hpp"
#include "search.hpp"

namespace reknit {

namespace {

constexpr int kLongestSide = 150;  // of the level that is searched
constexpr int kSweeps = 5;
constexpr int kStep = 2;        // px between the places that are matched
constexpr int kContrast = 30;   // of green, that a patch needs
constexpr int kWitnesses = 40;  // places at which a shift is made exact

struct Shift {
  int dx, dy;
  int votes;
};

// Patches on a grid, each with its best match that is not near it: PatchMatch among known patches.
class Likes {
 public:
  Likes(const Level& level, const LevelView& view, const Kernels& kernels, int nearest)
      : level_(level),
        view_(view),
        kernels_(kernels),
        nearest_(nearest),
        columns_(std::max(0, (level.width - 2 * kRadius + kStep - 1) / kStep)),
        height_(std::min(level.height, view.bank_row)),
        rows_(std::max(0, (height_ - 2 * kRadius + kStep - 1) / kStep)) {
    const size_t n = static_cast<size_t>(columns_) * static_cast<size_t>(rows_);
    offset_.assign(n, kNowhere);
  }

  int places() const { return columns_ * rows_; }

  void match(uint32_t seed) {
    for (int pass = 0; pass < kSweeps; ++pass) {
      const int n = columns_ * rows_, back = pass % 2 ? -1 : 1;
      for (int k = 0; k < n; ++k) look_at(back > 0 ? k : n - 1 - k, back, pass, seed);
    }
  }

  template <class Visit>
  void each(const Visit& visit) const {
    for (int k = 0; k < columns_ * rows_; ++k)
      if (offset_[static_cast<size_t>(k)] != kNowhere)
        visit(offset_x(offset_[static_cast<size_t>(k)]), offset_y(offset_[static_cast<size_t>(k)]));
  }

 private:
  void look_at(int k, int back, int pass, uint32_t seed) {
    const int column = k % columns_, row = k / columns_;
    const int x = kRadius + column * kStep, y = kRadius + row * kStep;
    if (!is_source(x, y) || flat(x, y)) return;
    candidates_.clear();
    const int32_t own = offset_[static_cast<size_t>(k)];
    if (own != kNowhere) offer(x, y, own);
    if (column - back >= 0 && column - back < columns_) offer(x, y, offset_[static_cast<size_t>(k - back)]);
    if (row - back >= 0 && row - back < rows_) offer(x, y, offset_[static_cast<size_t>(k - back * columns_)]);
    uint32_t random = random_state(static_cast<uint32_t>(k), static_cast<uint32_t>(pass), seed);
    const int cx = own == kNowhere ? x : x + offset_x(own), cy = own == kNowhere ? y : y + offset_y(own);
    for (int reach = std::max(level_.width, height_); reach >= 1; reach /= 3) {
      const int u = draw(random, std::max(0, cx - reach), std::min(level_.width - 1, cx + reach));
      const int v = draw(random, std::max(0, cy - reach), std::min(height_ - 1, cy + reach));
      offer(x, y, pack_offset(u - x, v - y));
    }
    const int winner =
        kernels_.closest(view_, level_.index(x, y), candidates_.data(), static_cast<int>(candidates_.size()));
    if (winner >= 0)
      offset_[static_cast<size_t>(k)] = pack_offset(level_.column(winner) - x, level_.row(winner) - y);
  }

  void offer(int x, int y, int32_t offset) {
    if (offset == kNowhere) return;
    const int dx = offset_x(offset), dy = offset_y(offset);
    if (std::max(std::abs(dx), std::abs(dy)) < nearest_ || !is_source(x + dx, y + dy)) return;
    candidates_.push_back({level_.index(x + dx, y + dy), x + dx, y + dy});
  }

  bool is_source(int x, int y) const {
    return x >= 0 && y >= 0 && x < level_.width && y < height_ &&
           (level_.flags[static_cast<size_t>(level_.index(x, y))] & kSource);
  }

  // Plain areas are like everything plain: they say nothing about repetition.
  bool flat(int x, int y) const {
    int low = 255, high = 0;
    for (int v = y - kRadius; v <= y + kRadius; ++v) {
      const uint8_t* p = level_.pixel(level_.index(x - kRadius, v));
      for (int u = 0; u < kSide; ++u, p += 4) {
        low = std::min<int>(low, p[1]);
        high = std::max<int>(high, p[1]);
      }
    }
    return high - low < kContrast;
  }

  const Level& level_;
  const LevelView& view_;
  const Kernels& kernels_;
  int nearest_, columns_, height_, rows_;
  std::vector<int32_t> offset_;
  std::vector<Spot> candidates_;
};

// The peaks of the histogram of offsets, a shift and its opposite counted together.
std::vector<Shift> peaks(const Likes& likes, int width, int height, int nearest, int places,
                         const Settings& settings) {
  const int side = 2 * width + 1;
  std::vector<int> votes(static_cast<size_t>(side) * static_cast<size_t>(2 * height + 1), 0);
  auto at = [&](int dx, int dy) -> int& {
    return votes[static_cast<size_t>(dy + height) * static_cast<size_t>(side) +
                 static_cast<size_t>(dx + width)];
  };
  int total = 0;
  likes.each([&](int dx, int dy) {
    ++at(dx, dy);
    ++at(-dx, -dy);
    ++total;
  });
  std::vector<Shift> found;
  for (int dy = 0; dy < height; ++dy)
    for (int dx = dy == 0 ? 1 : 1 - width; dx < width; ++dx) {
      if (at(dx, dy) == 0 || std::max(std::abs(dx), dy) < nearest) continue;
      int sum = 0;
      bool peak = true;
      for (int v = std::max(-height, dy - 1); v <= dy + 1; ++v)
        for (int u = std::max(-width, dx - 1); u <= dx + 1; ++u) {
          sum += at(u, v);
          peak &= at(u, v) <= at(dx, dy);
        }
      if (peak && sum >= settings.shift_share * 0.3 * total) found.push_back({dx, dy, sum});
    }
  std::stable_sort(found.begin(), found.end(),
                   [](const Shift& a, const Shift& b) { return a.votes > b.votes; });
  // A picture repeats itself when much of it has detail, and much of that the same shift.
  if (found.empty() || total * 4 < places || found[0].votes < settings.shift_share * total) return {};
  std::vector<Shift> kept;
  for (const Shift& s : found) {
    bool apart = true;
    for (const Shift& k : kept) apart &= std::max(std::abs(k.dx - s.dx), std::abs(k.dy - s.dy)) > 2;
    if (!apart) continue;
    kept.push_back(s);
    if (static_cast<int>(kept.size()) * 2 >= settings.shifts) break;
  }
  return kept;
}

// Makes shifts exact that a coarser level knew only roughly: of those within `slack` px the one at which the
// better half of some known patches differ least.
void sharpen(const Level& level, const LevelView& view, const Kernels& kernels, int slack, uint32_t seed,
             std::vector<Shift>& shifts) {
  auto usable = [&](int x, int y) {
    return x >= kRadius && y >= kRadius && x < level.width - kRadius && y < level.height - kRadius &&
           (level.flags[static_cast<size_t>(level.index(x, y))] & kSource);
  };
  for (Shift& s : shifts) {
    uint32_t random = random_state(static_cast<uint32_t>(s.dx), static_cast<uint32_t>(s.dy), seed);
    std::vector<Spot> places;
    for (int tries = 0; tries < kWitnesses * 8 && static_cast<int>(places.size()) < kWitnesses; ++tries) {
      const int x = draw(random, 0, level.width - 1), y = draw(random, 0, level.height - 1);
      if (usable(x, y) && usable(x + s.dx, y + s.dy)) places.push_back({level.index(x, y), x, y});
    }
    int64_t least = INT64_MAX;
    Shift best = s;
    std::vector<int> costs;
    for (int dy = s.dy - slack; dy <= s.dy + slack; ++dy)
      for (int dx = s.dx - slack; dx <= s.dx + slack; ++dx) {
        costs.clear();
        for (const Spot& p : places)
          costs.push_back(usable(p.x + dx, p.y + dy)
                              ? kernels.cost(view, p.at, level.index(p.x + dx, p.y + dy))
                              : INT32_MAX / 4);
        std::sort(costs.begin(), costs.end());
        int64_t sum = 0;
        for (size_t k = 0; k < costs.size() * 3 / 4; ++k) sum += costs[k];
        if (sum >= least) continue;
        least = sum;
        best = {dx, dy, s.votes};
      }
    s = best;
  }
}

std::vector<int32_t> both_ways(const std::vector<Shift>& shifts, double scale) {
  auto rounded = [&](int v) { return static_cast<int>(std::floor(v * scale + 0.5)); };
  std::vector<int32_t> packed;
  for (const Shift& s : shifts) {
    packed.push_back(pack_offset(rounded(s.dx), rounded(s.dy)));
    packed.push_back(pack_offset(rounded(-s.dx), rounded(-s.dy)));
  }
  return packed;
}

}  // namespace

std::vector<std::vector<int32_t>> find_shifts(std::vector<Level>& levels, const Settings& settings,
                                              const Kernels& kernels) {
  std::vector<std::vector<int32_t>> out(levels.size());
  if (settings.shifts == 0 || levels.size() < 2) return out;
  size_t from = 0;
  while (from + 1 < levels.size() && std::max(levels[from].width, levels[from].height) > kLongestSide) ++from;
  Settings plain = settings;
  plain.proximity = 0;
  plain.ring = 0;
  Level& base = levels[from];
  if (std::max(base.width, base.height) > 2 * kLongestSide) return out;
  const int nearest = std::max(4, std::max(base.width, base.height) / 20);
  const LevelView view = look(base, plain);
  Likes likes(base, view, kernels, nearest);
  likes.match(settings.seed);
  std::vector<Shift> shifts = peaks(likes, base.width, base.height, nearest + 2, likes.places(), settings);

  if (shifts.empty()) return out;
  for (size_t k = from; k < levels.size(); ++k) out[k] = both_ways(shifts, base.scale / levels[k].scale);
  for (size_t k = from; k-- > 0;) {
    const double ratio = levels[k + 1].scale / levels[k].scale;
    for (Shift& s : shifts) {
      s.dx = static_cast<int>(std::floor(s.dx * ratio + 0.5));
      s.dy = static_cast<int>(std::floor(s.dy * ratio + 0.5));
    }
    sharpen(levels[k], look(levels[k], plain), kernels, 1, settings.seed, shifts);
    out[k] = both_ways(shifts, 1);
  }
  return out;
}

}  // namespace reknit
