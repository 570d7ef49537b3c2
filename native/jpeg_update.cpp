// Coding again the blocks whose pixels changed.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "jpeg_parts.hpp"

namespace reknit {
namespace {

// ---- The transform (T.81, A.3.3), as two products with an 8×8 matrix

struct Cosines {
  float at[8][8];  // [frequency][sample]
  Cosines() {
    for (int u = 0; u < 8; ++u)
      for (int x = 0; x < 8; ++x)
        at[u][x] = static_cast<float>((u == 0 ? std::sqrt(0.125) : 0.5) *
                                      std::cos((2 * x + 1) * u * 3.14159265358979323846 / 16.0));
  }
};

const Cosines& cosines() {
  static const Cosines table;
  return table;
}

void inverse(const float* in, float* out) {
  const auto& c = cosines().at;
  float half[64];
  for (int v = 0; v < 8; ++v) {
    float row[8] = {};
    for (int u = 0; u < 8; ++u)
      for (int x = 0; x < 8; ++x) row[x] += in[v * 8 + u] * c[u][x];
    std::copy(row, row + 8, half + v * 8);
  }
  std::fill(out, out + 64, 0.0f);
  for (int v = 0; v < 8; ++v)
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) out[y * 8 + x] += half[v * 8 + x] * c[v][y];
}

void forward(const float* in, float* out) {
  const auto& c = cosines().at;
  float half[64] = {};
  for (int v = 0; v < 8; ++v)
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) half[v * 8 + x] += in[y * 8 + x] * c[v][y];
  for (int v = 0; v < 8; ++v)
    for (int u = 0; u < 8; ++u) {
      float sum = 0;
      for (int x = 0; x < 8; ++x) sum += half[v * 8 + x] * c[u][x];
      out[v * 8 + u] = sum;
    }
}

// ---- Replacing blocks

// One sample of a component from an RGB pixel, less 128 (JFIF 1.02; T.871).
float sample(const std::uint8_t* p, std::ptrdiff_t step, int component, bool colour, bool rgb) {
  if (!colour) return static_cast<float>(p[0]) - 128.0f;
  if (rgb) return static_cast<float>(p[component * step]) - 128.0f;
  const float r = p[0], g = p[step], b = p[2 * step];
  if (component == 0) return 0.299f * r + 0.587f * g + 0.114f * b - 128.0f;
  if (component == 1) return -0.168735892f * r - 0.331264108f * g + 0.5f * b;
  return 0.5f * r - 0.418687589f * g - 0.081312411f * b;
}

class Updater {
 public:
  Updater(Jpeg& jpeg, const PixelView* before, const PixelView& after, int h, int v)
      : jpeg_(jpeg), before_(before), after_(after), h_(h), v_(v) {}

  // Codes one MCU again where it changed; returns how many of its blocks were.
  int mcu(int mx, int my) {
    if (before_ != nullptr && !differs(mx, my)) return 0;
    int changed = 0;
    for (std::size_t c = 0; c < jpeg_.components.size(); ++c) {
      JpegComponent& part = jpeg_.components[c];
      for (int v = 0; v < part.v; ++v)
        for (int h = 0; h < part.h; ++h)
          changed += block(static_cast<int>(c), mx * part.h + h, my * part.v + v) ? 1 : 0;
    }
    return changed;
  }

 private:
  bool same(int x, int y) const {
    if (!before_->holds(x, y)) return false;
    const std::uint8_t *a = before_->at(x, y), *b = after_.at(x, y);
    const std::ptrdiff_t s = before_->channel, t = after_.channel;
    return a[0] == b[0] && a[s] == b[t] && a[2 * s] == b[2 * t];
  }

  bool differs(int mx, int my) const {
    const int x0 = mx * 8 * h_, x1 = std::min(x0 + 8 * h_, jpeg_.width);
    const int y0 = my * 8 * v_, y1 = std::min(y0 + 8 * v_, jpeg_.height);
    const bool packed =
        before_->channel == 1 && after_.channel == 1 && before_->column == 3 && after_.column == 3;
    if (!before_->holds(x0, y0) || !before_->holds(x1 - 1, y1 - 1)) return true;
    for (int y = y0; y < y1; ++y) {
      if (packed) {
        if (std::memcmp(before_->at(x0, y), after_.at(x0, y), 3 * static_cast<std::size_t>(x1 - x0)) != 0)
          return true;
      } else {
        for (int x = x0; x < x1; ++x)
          if (!same(x, y)) return true;
      }
    }
    return false;
  }

  // Samples beyond the picture's edge repeat the edge, changed or not.
  bool block(int c, int bx, int by) {
    JpegComponent& part = jpeg_.components[static_cast<std::size_t>(c)];
    const int sx = h_ / part.h, sy = v_ / part.v;
    float fresh[64];
    bool is_new[64];
    int news = 0;
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) {
        const int i = y * 8 + x;
        is_new[i] = cell(c, (bx * 8 + x) * sx, (by * 8 + y) * sy, sx, sy, &fresh[i]);
        news += is_new[i] ? 1 : 0;
      }
    if (news == 0) return false;
    std::int16_t* coefficients = part.block(bx, by);
    const auto& steps = jpeg_.quantisation[static_cast<std::size_t>(part.table)];
    float spectrum[64];
    if (news < 64) {
      for (std::size_t i = 0; i < 64; ++i) spectrum[i] = static_cast<float>(coefficients[i] * steps[i]);
      float old[64];
      inverse(spectrum, old);
      for (int i = 0; i < 64; ++i)
        if (!is_new[i]) fresh[i] = old[i];
    }
    forward(fresh, spectrum);
    for (std::size_t i = 0; i < 64; ++i) {
      const float value = std::floor(spectrum[i] / static_cast<float>(steps[i]) + 0.5f);
      coefficients[i] = static_cast<std::int16_t>(std::max(-1023.0f, std::min(1023.0f, value)));
    }
    return true;
  }

  // The mean over the pixels of one sample's cell; returns whether any of them changed.
  bool cell(int c, int x0, int y0, int sx, int sy, float* mean) const {
    bool changed = before_ == nullptr;
    for (int y = y0; y < y0 + sy && !changed; ++y)
      for (int x = x0; x < x0 + sx && !changed; ++x) changed = !same(clamp_x(x), clamp_y(y));
    if (!changed) return false;
    float sum = 0;
    const bool colour = jpeg_.components.size() == 3;
    for (int y = y0; y < y0 + sy; ++y)
      for (int x = x0; x < x0 + sx; ++x)
        sum += sample(after_.at(clamp_x(x), clamp_y(y)), after_.channel, c, colour, jpeg_.rgb);
    *mean = sum / static_cast<float>(sx * sy);
    return true;
  }

  int clamp_x(int x) const { return std::min(x, jpeg_.width - 1); }
  int clamp_y(int y) const { return std::min(y, jpeg_.height - 1); }

  Jpeg& jpeg_;
  const PixelView* before_;
  const PixelView& after_;
  int h_, v_;
};

}  // namespace

JpegCounts Jpeg::update(const PixelView* before, const PixelView& after) {
  if (after.width != width || after.height != height) fail("the pixels have another size");
  const int h = mcu_h(), v = mcu_v();
  const int mcus_x = ceil_div(width, 8 * h), mcus_y = ceil_div(height, 8 * v);
  Updater updater(*this, before, after, h, v);
  JpegCounts counts;
  for (const JpegComponent& part : components)
    counts.total += static_cast<std::int64_t>(part.stride) * part.rows;
  counts.carried = counts.total;
  for (int y = 0; y < mcus_y; ++y)
    for (int x = 0; x < mcus_x; ++x) counts.carried -= updater.mcu(x, y);
  return counts;
}

}  // namespace reknit
