#include "cells.hpp"

#include <algorithm>

namespace reknit {

Cells::Cells(int width, int height, int px)
    : px_(px),
      rows_((height + px - 1) / px),
      across_(static_cast<size_t>(width / px + 3)),
      cells_(across_ * static_cast<size_t>(height / px + 3)) {}

int Cells::used() const {
  return static_cast<int>(
      std::count_if(cells_.begin(), cells_.end(), [](const Cell& cell) { return cell.used; }));
}

void Cells::relax(int sweeps) {
  for (int sweep = 0; sweep < sweeps; ++sweep)
    for (size_t c = 0; c < cells_.size(); ++c)
      if (cells_[c].used) relax_one(c);
}

void Cells::relax_one(size_t c) {
  Cell& cell = cells_[c];
  Colour sum = cell.rhs;
  float weight = cell.own;
  auto add = [&](const Cell& other, const Colour& rise, float sign) {
    if (!other.used) return;
    for (size_t q = 0; q < 4; ++q) sum[q] += other.value[q] + sign * rise[q];
    weight += 1;
  };
  add(cells_[c - 1], cells_[c - 1].rise[0], 1);
  add(cells_[c + 1], cell.rise[0], -1);
  add(cells_[c - across_], cells_[c - across_].rise[1], 1);
  add(cells_[c + across_], cell.rise[1], -1);
  if (weight <= 0) return;
  for (size_t q = 0; q < 4; ++q) cell.value[q] += 1.7f * (sum[q] / weight - cell.value[q]);
}

Colour Cells::lift(int px_x, int px_y) const {
  const float x = (static_cast<float>(px_x) + 0.5f) / static_cast<float>(px_) + 0.5f;
  const float y = (static_cast<float>(px_y) + 0.5f) / static_cast<float>(px_) + 0.5f;
  const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
  const float fx = x - static_cast<float>(x0), fy = y - static_cast<float>(y0);
  Colour sum{};
  float total = 0;
  for (int k = 0; k < 4; ++k) {
    const Cell& cell =
        cells_[static_cast<size_t>(y0 + (k >> 1)) * across_ + static_cast<size_t>(x0 + (k & 1))];
    if (!cell.used) continue;
    const float w = (k & 1 ? fx : 1 - fx) * (k >> 1 ? fy : 1 - fy);
    total += w;
    for (size_t q = 0; q < 4; ++q) sum[q] += w * cell.value[q];
  }
  for (size_t q = 0; q < 4 && total > 0; ++q) sum[q] /= total;
  return sum;
}

}  // namespace reknit
