#include "tone.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "pyramid.hpp"

namespace reknit {

ToneCurve tone_curve(const Picture& picture) {
  constexpr int kSteps = 4096;
  std::vector<int64_t> counts(kSteps, 0);
  int64_t total = 0;
  const uint16_t* samples = static_cast<const uint16_t*>(picture.samples);
  const size_t pixels = static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height);
  const size_t stride = std::max<size_t>(1, pixels / 1000000);
  for (size_t i = 0; i < pixels; i += stride) {
    if (picture.hole[i]) continue;
    for (size_t c = 0; c < 3; ++c) ++counts[samples[i * static_cast<size_t>(picture.channels) + c] >> 4];
    total += 3;
  }
  auto quantile = [&](double q) {
    int64_t seen = 0;
    int step = 0;
    for (; step < kSteps - 1; ++step)
      if ((seen += counts[static_cast<size_t>(step)]) > static_cast<int64_t>(q * static_cast<double>(total)))
        break;
    return step;
  };
  const int low = quantile(0.001), middle = quantile(0.5), high = std::max(low + 1, quantile(0.999));
  auto place = [&](int step) {
    return std::min(1.0, std::max(0.0, static_cast<double>(step - low) / (high - low)));
  };
  const bool dark = place(middle) < 0.2;
  ToneCurve curve;
  curve.table.resize(kSteps);
  for (int step = 0; step < kSteps; ++step) {
    const double v = dark ? std::sqrt(place(step)) : place(step);
    curve.table[static_cast<size_t>(step)] = static_cast<uint8_t>(v * 255 + 0.5);
  }
  return curve;
}

}  // namespace reknit
