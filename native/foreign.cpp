#include "foreign.hpp"

#include <algorithm>
#include <climits>

namespace reknit {

namespace {

constexpr int kPerPx = 75;   // what a squared px of the coarsest level adds to a squared difference of colour
constexpr int kAlike = 300;  // a squared difference that means nothing

int difference(const uint8_t* p, const int* colour) {
  int sum = 0;
  for (int c = 0; c < 4; ++c) sum += (p[c] - colour[c]) * (p[c] - colour[c]);
  return sum;
}

uint8_t sixteenth(double v) { return static_cast<uint8_t>(std::min(255.0, std::max(0.0, v / 16))); }

}  // namespace

// Each further sample is the known pixel along the hole that is least like all samples so far.
Rim::Rim(const Level& coarsest) : px_(coarsest.scale) {
  struct Known {
    int at, x, y;
    int64_t unlike;
  };
  std::vector<Known> all;
  std::vector<uint8_t> seen(coarsest.flags.size(), 0);
  for (int32_t at : coarsest.sites.at) {
    if (!(coarsest.flags[static_cast<size_t>(at)] & kTarget)) continue;
    for (int d : {-coarsest.stride, -1, 1, coarsest.stride}) {
      const int near = at + d;
      if (seen[static_cast<size_t>(near)] || !coarsest.known(near)) continue;
      seen[static_cast<size_t>(near)] = 1;
      all.push_back({near, coarsest.column(near), coarsest.row(near), INT64_MAX});
    }
  }
  size_t next = 0;
  while (!all.empty() && samples_.size() < kRimSamples && all[next].unlike > 0) {
    const Known added = all[next];
    const uint8_t* p = coarsest.pixel(added.at);
    const Sample sample{(added.x + 0.5) * px_, (added.y + 0.5) * px_, {p[0], p[1], p[2], p[3]}};
    samples_.push_back(sample);
    next = 0;
    for (size_t k = 0; k < all.size(); ++k) {
      const int64_t dx = all[k].x - added.x, dy = all[k].y - added.y;
      const int64_t d = kPerPx * (dx * dx + dy * dy) + difference(coarsest.pixel(all[k].at), sample.colour);
      all[k].unlike = std::min(all[k].unlike, d);
      if (all[k].unlike > all[next].unlike) next = k;
    }
  }
}

void Rim::measure(Level& level) const {
  if (samples_.empty()) return;
  level.unlike.assign(level.flags.size() * kRimSamples, 255);
  for (int y = 0; y < level.height; ++y)
    for (int x = 0; x < level.width; ++x) {
      const int at = level.index(x, y);
      if (!(level.flags[static_cast<size_t>(at)] & kSource)) continue;
      uint8_t* out = &level.unlike[static_cast<size_t>(at) * kRimSamples];
      for (size_t k = 0; k < samples_.size(); ++k)
        out[k] = sixteenth(difference(level.pixel(at), samples_[k].colour) - kAlike);
    }
  const Sites& s = level.sites;
  level.away.assign(static_cast<size_t>(s.count()) * kRimSamples, 255);
  for (int i = 0; i < s.count(); ++i) {
    const int at = s.at[static_cast<size_t>(i)];
    const double x = (level.column(at) + 0.5) * level.scale, y = (level.row(at) + 0.5) * level.scale;
    double away[kRimSamples], nearest = 1e300;
    for (size_t k = 0; k < samples_.size(); ++k) {
      const double dx = (samples_[k].x - x) / px_, dy = (samples_[k].y - y) / px_;
      away[k] = kPerPx * (dx * dx + dy * dy);
      nearest = std::min(nearest, away[k]);
    }
    uint8_t* out = &level.away[static_cast<size_t>(i) * kRimSamples];
    for (size_t k = 0; k < samples_.size(); ++k) out[k] = sixteenth(away[k] - nearest);
  }
}

}  // namespace reknit
