#include "level.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "random.hpp"

namespace reknit {

Level::Level(int w, int h, double s) : width(w), height(h), stride(w + 2 * kReach), scale(s) {
  const size_t pixels = static_cast<size_t>(stride) * static_cast<size_t>(h + 2 * kReach);
  guide.assign(pixels * 4 + 64, 0);  // vector loads may read past a patch's last row
  flags.assign(pixels, kVoid);
  weight.assign(pixels, 0);
}

void mark_sources(Level& level) {
  const int w = level.width, h = level.height;
  level.source_count = 0;
  if (w < kSide || h < kSide) return;
  std::vector<uint8_t> bad(static_cast<size_t>(w));  // unusable pixels of each column's last kSide rows
  auto usable = [&](int x, int y) {
    return !(level.flags[static_cast<size_t>(level.index(x, y))] & (kUnknown | kForbidden));
  };
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      int change = !usable(x, y);
      if (y >= kSide) change -= !usable(x, y - kSide);
      bad[static_cast<size_t>(x)] = static_cast<uint8_t>(bad[static_cast<size_t>(x)] + change);
    }
    if (y < kSide - 1) continue;
    const int centre = level.index(0, y - kRadius);
    const uint8_t* b = bad.data();
    int found = 0;
    for (int x = kRadius; x < w - kRadius; ++x) {
      const bool whole = !(b[x - 2] | b[x - 1] | b[x] | b[x + 1] | b[x + 2]);
      if (whole) level.flags[static_cast<size_t>(centre + x)] |= kSource;
      found += whole;
    }
    level.source_count += found;
  }
}

void thin_sources(Level& level, double part, uint32_t seed) {
  const int cell = std::max(1, std::max(level.width, level.height) / 10);
  auto hidden = [&](int x, int y) {
    return mix(static_cast<uint32_t>(x / cell), static_cast<uint32_t>(y / cell), seed) % 1000 <
           static_cast<uint32_t>(part * 1000);
  };
  int left = 0;
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1 && left < level.source_count / 3) return;
    for (int y = 0; y < level.height; ++y)
      for (int x = 0; x < level.width; ++x) {
        uint8_t& flags = level.flags[static_cast<size_t>(level.index(x, y))];
        if (!(flags & kSource)) continue;
        if (pass == 0)
          left += !hidden(x, y);
        else if (hidden(x, y))
          flags = static_cast<uint8_t>(flags & ~kSource);
      }
  }
  level.source_count = left;
}

namespace {

// Marks in `near` (one byte per column) the pixels within kRadius of a target pixel of row y. Returns whether
// any.
bool spread_row(const Level& level, int y, std::vector<uint8_t>& near) {
  const uint8_t* flags = &level.flags[static_cast<size_t>(level.index(0, y))];
  const int w = level.width;
  bool any = false;
  for (int x = 0; x < w;) {
    if (x + 8 <= w) {
      uint64_t eight;
      std::memcpy(&eight, flags + x, 8);
      if (!(eight & 0x0101010101010101ull * kTarget)) {
        x += 8;
        continue;
      }
    }
    const int stop = std::min(w, x + 8);
    for (; x < stop; ++x) {
      if (!(flags[x] & kTarget)) continue;
      const int a = std::max(0, x - kRadius), b = std::min(w, x + kRadius + 1);
      std::memset(&near[static_cast<size_t>(a)], 1, static_cast<size_t>(b - a));
      any = true;
    }
  }
  return any;
}

void link_rows(const Level& level, Sites& s) {
  const size_t n = s.at.size();
  s.up.assign(n, -1);
  s.down.assign(n, -1);
  for (int y = 1; y < level.height; ++y) {
    int above = s.row_begin[static_cast<size_t>(y - 1)];
    const int above_end = s.row_begin[static_cast<size_t>(y)];
    const int end = s.row_begin[static_cast<size_t>(y + 1)];
    for (int i = above_end; i < end; ++i) {
      const int want = s.at[static_cast<size_t>(i)] - level.stride;
      while (above < above_end && s.at[static_cast<size_t>(above)] < want) ++above;
      if (above == above_end) break;
      if (s.at[static_cast<size_t>(above)] != want) continue;
      s.up[static_cast<size_t>(i)] = above;
      s.down[static_cast<size_t>(above)] = i;
    }
  }
}

// Two-pass chamfer distance (2 straight, 3 diagonal: half px) over the sites.
void measure_depth(const Level& level, Sites& s) {
  const int n = s.count();
  s.depth.assign(static_cast<size_t>(n), 0);
  for (int i = 0; i < n; ++i)
    if (!level.known(s.at[static_cast<size_t>(i)])) s.depth[static_cast<size_t>(i)] = 255;
  auto relax = [&](int i, bool backward) {
    int best = s.depth[static_cast<size_t>(i)];
    if (best == 0) return;
    auto consider = [&](int j, int step) { best = std::min(best, s.depth[static_cast<size_t>(j)] + step); };
    if (!backward && s.left(i)) consider(i - 1, 2);
    if (backward && s.right(i)) consider(i + 1, 2);
    const int v = (backward ? s.down : s.up)[static_cast<size_t>(i)];
    if (v >= 0) {
      consider(v, 2);
      if (s.left(v)) consider(v - 1, 3);
      if (s.right(v)) consider(v + 1, 3);
    }
    s.depth[static_cast<size_t>(i)] = static_cast<uint8_t>(best);
  };
  for (int i = 0; i < n; ++i) relax(i, false);
  for (int i = n - 1; i >= 0; --i) relax(i, true);
}

}  // namespace

void find_sites(Level& level) {
  Sites& s = level.sites;
  s = Sites{};
  const int w = level.width, h = level.height;
  // near[k]: the spread of row r with r % kSide == k; a row's sites are the union over kRadius rows either
  // way.
  std::vector<std::vector<uint8_t>> near(kSide, std::vector<uint8_t>(static_cast<size_t>(w)));
  bool used[kSide] = {};
  s.row_begin.push_back(0);
  for (int y = -kRadius; y < h; ++y) {
    const int ahead = y + kRadius;
    const int slot = ahead % kSide;
    if (used[slot])
      std::fill(near[static_cast<size_t>(slot)].begin(), near[static_cast<size_t>(slot)].end(), uint8_t{0});
    used[slot] = ahead < h && spread_row(level, ahead, near[static_cast<size_t>(slot)]);
    if (y < 0) continue;
    if (used[0] || used[1] || used[2] || used[3] || used[4]) {
      for (int x = 0; x < w; ++x) {
        const size_t c = static_cast<size_t>(x);
        if (near[0][c] | near[1][c] | near[2][c] | near[3][c] | near[4][c]) s.at.push_back(level.index(x, y));
      }
    }
    s.row_begin.push_back(s.count());
  }
  link_rows(level, s);
  measure_depth(level, s);
}

double deepest(const Sites& sites) {
  uint8_t most = 0;
  for (uint8_t d : sites.depth) most = std::max(most, d);
  return most / 2.0;
}

double openness(const Level& level) {
  const Sites& s = level.sites;
  int open = 0, rim = 0;
  for (int i = 0; i < s.count(); ++i) {
    const size_t k = static_cast<size_t>(i);
    if (!(level.flags[static_cast<size_t>(s.at[k])] & kTarget)) continue;
    open += (s.up[k] < 0) + (s.down[k] < 0) + !s.left(i) + !s.right(i);
    rim += s.depth[k] == 2;
  }
  return open ? static_cast<double>(open) / (open + rim) : 0;
}

void weigh_by_depth(Level& level, double falloff) {
  const double step = std::sqrt(1 / falloff);  // per half px
  uint8_t table[256];
  double value = kKnownWeight;
  for (int d = 0; d < 256; ++d, value *= step) table[d] = static_cast<uint8_t>(std::max(6.0, value) + 0.5);
  const Sites& s = level.sites;
  for (int i = 0; i < s.count(); ++i) {
    const size_t at = static_cast<size_t>(s.at[static_cast<size_t>(i)]);
    if (level.flags[at] & kTarget) level.weight[at] = table[s.depth[static_cast<size_t>(i)]];
  }
}

}  // namespace reknit
