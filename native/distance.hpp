// Exact Euclidean distance transform of a bool picture: two separable passes (Meijster, Roerdink and
// Hesselink, "A general algorithm for computing distance transforms in linear time", 2000). All decisions are
// taken on integers, so results are the same on every machine and at any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "threads.hpp"

namespace reknit {

// out[y * width + x] = distance in pixels from (x, y) to the nearest set pixel of `mask` (0 on it), infinity
// when no pixel is set. `row_stride` counts bytes between rows of the mask; a byte other than 0 is set. Sides
// may not exceed 2^20.
void distance_transform(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width,
                        float* out, ThreadPool& pool);

}  // namespace reknit
