#include "field.hpp"

#include <algorithm>
#include <cmath>

#include "random.hpp"

namespace reknit {

namespace {

constexpr int kRows = 16, kGrain = 4096;                         // rows and sites of a tile
constexpr double kRefineSeconds = 0.1e-6, kStirSeconds = 10e-9;  // of one site, about

bool is_source(const Level& level, int x, int y) {
  if (x < kRadius || y < kRadius || x >= level.width - kRadius || y >= level.height - kRadius) return false;
  return level.flags[static_cast<size_t>(level.index(x, y))] & kSource;
}

// Up to 256 sources, evenly spread in raster order.
std::vector<int32_t> some_sources(const Level& level) {
  std::vector<int32_t> found;
  const int step = std::max(1, level.source_count / 256);
  int seen = 0;
  for (size_t i = 0; i < level.flags.size(); ++i)
    if ((level.flags[i] & kSource) && seen++ % step == 0) found.push_back(static_cast<int32_t>(i));
  return found;
}

// Finds the site at (x, y). Calls come in raster order, so the search starts where the last one ended.
class SiteFinder {
 public:
  explicit SiteFinder(const Level& level) : level_(level) {}

  int find(int x, int y) {
    if (x < 0 || y < 0 || x >= level_.width || y >= level_.height) return -1;
    const Sites& s = level_.sites;
    const int want = level_.index(x, y);
    const int begin = s.row_begin[static_cast<size_t>(y)], end = s.row_begin[static_cast<size_t>(y) + 1];
    for (int i = last_; i < std::min(last_ + 2, end); ++i)
      if (i >= begin && s.at[static_cast<size_t>(i)] == want) return last_ = i;
    const auto first = s.at.begin();
    const auto it = std::lower_bound(first + begin, first + end, want);
    if (it == first + end || *it != want) return -1;
    return last_ = static_cast<int>(it - first);
  }

 private:
  const Level& level_;
  int last_ = 0;
};

}  // namespace

void scatter(const Level& level, Field& field, uint32_t seed) {
  if (level.source_count == 0) return;
  std::vector<int32_t> spare;
  const Sites& s = level.sites;
  for (int y = 0; y < level.height; ++y) {
    for (int i = s.row_begin[static_cast<size_t>(y)]; i < s.row_begin[static_cast<size_t>(y) + 1]; ++i) {
      int32_t& offset = field.offset[static_cast<size_t>(i)];
      if (offset != kNowhere) continue;
      const int x = s.at[static_cast<size_t>(i)] - level.index(0, y);
      uint32_t random = random_state(static_cast<uint32_t>(x), static_cast<uint32_t>(y), seed);
      const int right = level.width - 1 - kRadius, bottom = level.height - 1 - kRadius;
      int reach = 32;
      for (int tries = 1; tries <= 64 && offset == kNowhere; ++tries) {
        const int u = draw(random, std::min(right, std::max(kRadius, x - reach)),
                           std::max(kRadius, std::min(right, x + reach)));
        const int v = draw(random, std::min(bottom, std::max(kRadius, y - reach)),
                           std::max(kRadius, std::min(bottom, y + reach)));
        if (is_source(level, u, v)) offset = pack_offset(u - x, v - y);
        if (tries % 8 == 0) reach = std::min(reach * 2, kFarthest);
      }
      if (offset != kNowhere) continue;
      if (spare.empty()) spare = some_sources(level);
      for (int tries = 0; tries < 16 && !spare.empty() && offset == kNowhere; ++tries) {
        const int at = spare[static_cast<size_t>(draw(random, 0, static_cast<int>(spare.size()) - 1))];
        const int dx = level.column(at) - x, dy = level.row(at) - y;
        if (std::max(std::abs(dx), std::abs(dy)) <= kFarthest) offset = pack_offset(dx, dy);
      }
    }
  }
}

void stir(const Sites& s, const std::vector<uint8_t>& changed, Field& field, ThreadPool& pool) {
  const int n = s.count();
  std::vector<uint8_t> across(static_cast<size_t>(n));
  auto along_row = [&](int i) {
    uint8_t any = changed[static_cast<size_t>(i)];
    for (int j = i; j > i - kRadius && s.left(j); --j) any |= changed[static_cast<size_t>(j) - 1];
    for (int j = i; j < i + kRadius && s.right(j); ++j) any |= changed[static_cast<size_t>(j) + 1];
    across[static_cast<size_t>(i)] = any;
  };
  auto along_column = [&](int i) {
    uint8_t any = across[static_cast<size_t>(i)];
    int up = i, down = i;
    for (int k = 0; k < kRadius; ++k) {
      if (up >= 0 && (up = s.up[static_cast<size_t>(up)]) >= 0) any |= across[static_cast<size_t>(up)];
      if (down >= 0 && (down = s.down[static_cast<size_t>(down)]) >= 0)
        any |= across[static_cast<size_t>(down)];
    }
    field.stirred[static_cast<size_t>(i)] = any;
  };
  pool.each(0, n, kGrain, along_row, kStirSeconds);
  pool.each(0, n, kGrain, along_column, kStirSeconds);
}

void stir_seams(const Sites& s, Field& field) {
  for (int i = 0; i < s.count(); ++i) {
    const int32_t own = field.offset[static_cast<size_t>(i)];
    auto differs = [&](int j) { return j >= 0 && field.offset[static_cast<size_t>(j)] != own; };
    field.stirred[static_cast<size_t>(i)] =
        differs(s.left(i) ? i - 1 : -1) || differs(s.right(i) ? i + 1 : -1) ||
        differs(s.up[static_cast<size_t>(i)]) || differs(s.down[static_cast<size_t>(i)]);
  }
}

Field refine(const Level& coarse, const Field& from, const Level& fine,
             const std::vector<int32_t>& coarse_shifts, const std::vector<int32_t>& fine_shifts,
             ThreadPool& pool) {
  Field field(fine.sites.count());
  double rx = static_cast<double>(fine.width) / coarse.width,
         ry = static_cast<double>(fine.height) / coarse.height;
  if (std::abs(coarse.scale / fine.scale - 2) < 1e-6) rx = ry = 2;
  auto round = [](double v) { return static_cast<int>(std::floor(v + 0.5)); };
  auto refine_row = [&](int y, SiteFinder& finder) {
    const int cy = std::min(static_cast<int>((y + 0.5) / ry), coarse.height - 1);
    for (int i = fine.sites.row_begin[static_cast<size_t>(y)];
         i < fine.sites.row_begin[static_cast<size_t>(y) + 1]; ++i) {
      const int x = fine.sites.at[static_cast<size_t>(i)] - fine.index(0, y);
      const int cx = std::min(static_cast<int>((x + 0.5) / rx), coarse.width - 1);
      int site = finder.find(cx, cy);
      for (int r = 1; r <= 2 && site < 0; ++r)
        for (int dy = -r; dy <= r && site < 0; ++dy)
          for (int dx = -r; dx <= r && site < 0; ++dx) site = finder.find(cx + dx, cy + dy);
      if (site < 0 || from.offset[static_cast<size_t>(site)] == kNowhere) continue;
      const int32_t offset = from.offset[static_cast<size_t>(site)];
      const auto shift = std::find(coarse_shifts.begin(), coarse_shifts.end(), offset);
      if (shift != coarse_shifts.end()) {
        const int32_t exact = fine_shifts[static_cast<size_t>(shift - coarse_shifts.begin())];
        const int u = x + offset_x(exact), v = y + offset_y(exact);
        if (is_source(fine, u, v)) {
          field.offset[static_cast<size_t>(i)] = exact;
          continue;
        }
      }
      const int u = std::min(std::max(x + round(rx * offset_x(offset)), kRadius), fine.width - 1 - kRadius);
      const int v = std::min(std::max(y + round(ry * offset_y(offset)), kRadius), fine.height - 1 - kRadius);
      bool placed = false;
      for (int r = 0; r <= 3 && !placed; ++r)
        for (int dy = -r; dy <= r && !placed; ++dy)
          for (int dx = -r; dx <= r && !placed; ++dx) {
            const int du = u + dx - x, dv = v + dy - y;
            if (!is_source(fine, u + dx, v + dy) || std::max(std::abs(du), std::abs(dv)) > kFarthest)
              continue;
            field.offset[static_cast<size_t>(i)] = pack_offset(du, dv);
            placed = true;
          }
    }
  };
  pool.split(
      0, fine.height, kRows,
      [&](int first, int last) {
        SiteFinder finder(coarse);
        for (int y = first; y < last; ++y) refine_row(y, finder);
      },
      kRefineSeconds * fine.sites.count() / fine.height);
  return field;
}

}  // namespace reknit
