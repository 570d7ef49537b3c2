#include "pyramid.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "tone.hpp"

namespace reknit {

namespace {

constexpr int kRows = 32;  // rows of a tile

template <class Sample, class Tone>
void copy_rows(const Picture& p, Level& level, const Tone& tone, int first, int last) {
  const Sample* samples = static_cast<const Sample*>(p.samples);
  for (int y = first; y < last; ++y) {
    const size_t row = static_cast<size_t>(y) * static_cast<size_t>(p.width);
    const Sample* in = samples + row * static_cast<size_t>(p.channels);
    uint8_t* out = level.pixel(level.index(0, y));
    const size_t base = static_cast<size_t>(level.index(0, y));
    for (int x = 0; x < p.width; ++x, in += p.channels, out += 4) {
      const size_t i = row + static_cast<size_t>(x);
      if (p.hole[i]) {
        level.flags[base + static_cast<size_t>(x)] = p.target[i] ? kTarget : kVoid;
        continue;
      }
      level.flags[base + static_cast<size_t>(x)] = p.source[i] ? 0 : kForbidden;
      level.weight[base + static_cast<size_t>(x)] = kKnownWeight;
      for (int c = 0; c < 3; ++c) out[c] = tone(in[c]);
    }
  }
}

// Puts each known pixel's mean absolute gradient into the texture channel.
void measure_gradient(Level& level, int first, int last) {
  for (int y = first; y < last; ++y) {
    int at = level.index(0, y);
    for (int x = 0; x < level.width; ++x, ++at) {
      if (!level.known(at)) continue;
      uint8_t* p = level.pixel(at);
      int sum = 0;
      auto add = [&](int other) {
        if (!level.known(other)) return;
        const uint8_t* q = level.pixel(other);
        sum += std::abs(p[0] - q[0]) + std::abs(p[1] - q[1]) + std::abs(p[2] - q[2]);
      };
      add(at + 1);  // padding is void
      add(at + level.stride);
      p[3] = static_cast<uint8_t>(std::min(255, sum * 2 / 3));
    }
  }
}

// The input pixels under one output pixel along one axis, with weights of 256 for a whole one.
struct Taps {
  int first = 0, count = 0;
  std::array<int, 4> weight{};
};

std::vector<Taps> taps_of(int from, int to, bool half) {
  std::vector<Taps> taps(static_cast<size_t>(to));
  const double step = half ? 2.0 : static_cast<double>(from) / to;
  for (int i = 0; i < to; ++i) {
    Taps& t = taps[static_cast<size_t>(i)];
    const double a = i * step, b = std::min<double>(a + step, from);
    t.first = static_cast<int>(a);
    for (int j = t.first; j < b - 1e-6 && t.count < 4; ++j) {
      const double part = std::min(b, j + 1.0) - std::max<double>(a, j);
      t.weight[static_cast<size_t>(t.count++)] = static_cast<int>(part * 256 + 0.5);
    }
  }
  return taps;
}

void shrink_rows(const Level& a, Level& b, const std::vector<Taps>& across, const std::vector<Taps>& down,
                 int known_quarters, int first, int last) {
  for (int y = first; y < last; ++y) {
    const Taps& ty = down[static_cast<size_t>(y)];
    for (int x = 0; x < b.width; ++x) {
      const Taps& tx = across[static_cast<size_t>(x)];
      int64_t area = 0, known = 0, forbidden = 0;
      int64_t sum[4] = {0, 0, 0, 0};
      bool target = false;
      for (int j = 0; j < ty.count; ++j) {
        int at = a.index(tx.first, ty.first + j);
        for (int i = 0; i < tx.count; ++i, ++at) {
          const int w = tx.weight[static_cast<size_t>(i)] * ty.weight[static_cast<size_t>(j)];
          const uint8_t flags = a.flags[static_cast<size_t>(at)];
          area += w;
          if (flags & kUnknown) {
            target |= flags & kTarget;
            continue;
          }
          known += w;
          if (flags & kForbidden) forbidden += w;
          const uint8_t* p = a.pixel(at);
          for (int c = 0; c < 4; ++c) sum[c] += static_cast<int64_t>(w) * p[c];
        }
      }
      const int to = b.index(x, y);
      if (known > 0)
        for (int c = 0; c < 4; ++c) b.pixel(to)[c] = static_cast<uint8_t>((sum[c] + known / 2) / known);
      const bool is_known = known > 0 && known * 4 >= known_quarters * area;
      b.flags[static_cast<size_t>(to)] = is_known              ? (forbidden * 2 > known ? kForbidden : 0)
                                         : target || known > 0 ? kTarget
                                                               : kVoid;
      if (is_known) b.weight[static_cast<size_t>(to)] = kKnownWeight;
    }
  }
}

Level shrink(const Level& a, double factor, int known_quarters, ThreadPool& pool) {
  const bool half = factor > 1.99;
  auto side = [&](int n) { return half ? (n + 1) / 2 : std::max(1, static_cast<int>(n / factor + 0.5)); };
  Level b(side(a.width), side(a.height), a.scale * (half ? 2 : factor));
  pool.poll();
  const std::vector<Taps> across = taps_of(a.width, b.width, half), down = taps_of(a.height, b.height, half);
  pool.split(0, b.height, kRows,
             [&](int first, int last) { shrink_rows(a, b, across, down, known_quarters, first, last); });
  return b;
}

// The busyness of one level: a masked box mean of its gradient channel.
std::vector<float> box_mean(const Level& level, int radius, float gain) {
  std::vector<float> mean(static_cast<size_t>(level.width) * static_cast<size_t>(level.height));
  for (int y = 0; y < level.height; ++y)
    for (int x = 0; x < level.width; ++x) {
      int sum = 0, count = 0;
      for (int r = radius; r <= radius + 2 && count == 0; ++r)
        for (int v = std::max(0, y - r); v <= std::min(level.height - 1, y + r); ++v)
          for (int u = std::max(0, x - r); u <= std::min(level.width - 1, x + r); ++u) {
            const int at = level.index(u, v);
            if (!level.known(at)) continue;
            sum += level.pixel(at)[3];
            ++count;
          }
      const size_t to = static_cast<size_t>(y) * static_cast<size_t>(level.width) + static_cast<size_t>(x);
      mean[to] = count ? static_cast<float>(sum) / static_cast<float>(count) * gain : 0.0f;
    }
  return mean;
}

struct Between {
  int low, high;
  float part;  // of high
};

std::vector<Between> bilinear(int from, int to) {
  std::vector<Between> out(static_cast<size_t>(to));
  const float step = static_cast<float>(from) / static_cast<float>(to);
  for (int i = 0; i < to; ++i) {
    const float v = (static_cast<float>(i) + 0.5f) * step - 0.5f;
    const int low = std::min(from - 1, std::max(0, static_cast<int>(v)));
    const int high = std::min(from - 1, low + 1);
    out[static_cast<size_t>(i)] = {low, high, std::min(1.0f, std::max(0.0f, v - static_cast<float>(low)))};
  }
  return out;
}

uint8_t to_byte(float v) { return static_cast<uint8_t>(std::min(255.0f, v + 0.5f)); }

// Level `from`'s busyness becomes the texture channel of itself and all finer levels; coarser ones keep their
// own.
void spread_texture(std::vector<Level>& levels, double weight, ThreadPool& pool) {
  const float gain = static_cast<float>(weight * 0.5);
  const double coarsest = levels.back().scale;
  int from = static_cast<int>(levels.size()) - 1;
  while (from > 0 && coarsest / levels[static_cast<size_t>(from)].scale < 1.9) --from;
  const Level& base = levels[static_cast<size_t>(from)];
  const int base_width = base.width, base_height = base.height;
  const int radius = std::max(1, static_cast<int>(coarsest / base.scale / 2 + 0.5));
  const std::vector<float> mean = box_mean(base, radius, gain);
  for (int k = 0; k < static_cast<int>(levels.size()); ++k) {
    Level& level = levels[static_cast<size_t>(k)];
    const std::vector<Between> across = bilinear(base_width, level.width),
                               down = bilinear(base_height, level.height);
    pool.split(0, level.height, kRows, [&](int first, int last) {
      std::vector<float> line(static_cast<size_t>(base_width));
      for (int y = first; y < last; ++y) {
        uint8_t* out = level.pixel(level.index(0, y)) + 3;
        if (k > from) {
          for (int x = 0; x < level.width; ++x, out += 4) *out = to_byte(gain * *out);
          continue;
        }
        const Between v = down[static_cast<size_t>(y)];
        const float* low = &mean[static_cast<size_t>(v.low) * static_cast<size_t>(base_width)];
        const float* high = &mean[static_cast<size_t>(v.high) * static_cast<size_t>(base_width)];
        for (int x = 0; x < base_width; ++x)
          line[static_cast<size_t>(x)] = low[x] + (high[x] - low[x]) * v.part;
        for (const Between& u : across) {
          const float a = line[static_cast<size_t>(u.low)], b = line[static_cast<size_t>(u.high)];
          *out = to_byte(a + (b - a) * u.part);
          out += 4;
        }
      }
    });
  }
}

Level full_size(const Picture& p, ThreadPool& pool) {
  Level level(p.width, p.height, 1);
  pool.poll();
  if (p.deep) {
    const ToneCurve tone = tone_curve(p);
    pool.split(0, p.height, kRows,
               [&](int first, int last) { copy_rows<uint16_t>(p, level, tone, first, last); });
  } else {
    pool.split(0, p.height, kRows, [&](int first, int last) {
      copy_rows<uint8_t>(p, level, [](uint8_t v) { return v; }, first, last);
    });
  }
  pool.split(0, p.height, kRows, [&](int first, int last) { measure_gradient(level, first, last); });
  return level;
}

}  // namespace

std::vector<Level> build_pyramid(const Picture& picture, const Settings& settings, ThreadPool& pool) {
  std::vector<Level> levels;
  levels.push_back(full_size(picture, pool));
  mark_sources(levels[0]);
  pool.poll();
  find_sites(levels[0]);
  pool.poll();
  for (;;) {
    const Level& fine = levels.back();
    if (deepest(fine.sites) <= settings.coarse_depth) break;
    if (std::min(fine.width, fine.height) < 4 * kSide) break;
    const bool gently = std::max(fine.width, fine.height) <= settings.ratio_limit;
    Level coarse = shrink(fine, gently ? settings.ratio : 2.0, settings.known_quarters, pool);
    mark_sources(coarse);
    pool.poll();
    if (coarse.source_count < settings.min_sources) break;
    find_sites(coarse);
    pool.poll();
    if (coarse.sites.count() == 0) break;
    levels.push_back(std::move(coarse));
  }
  spread_texture(levels, settings.texture, pool);
  return levels;
}

}  // namespace reknit
