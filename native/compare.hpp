// The proof that nothing outside an edit changed: one pass over two pictures, nothing allocated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "threads.hpp"

namespace reknit {

// Counts pixels of `pixel_bytes` bytes that differ between two C-contiguous pictures of `pixels` pixels where
// `kept` is 255 (a pixel that no paste touched).
std::int64_t differences_where_kept(const std::uint8_t* before, const std::uint8_t* after,
                                    const std::uint8_t* kept, std::int64_t pixels, int pixel_bytes,
                                    ThreadPool& pool);

}  // namespace reknit
