#include "compare.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace reknit {

std::int64_t differences_where_kept(const std::uint8_t* before, const std::uint8_t* after,
                                    const std::uint8_t* kept, std::int64_t pixels, int pixel_bytes,
                                    ThreadPool& pool) {
  constexpr std::int64_t kBlock = 256, kTile = 1 << 16;
  const std::size_t size = static_cast<std::size_t>(pixel_bytes);
  const int tiles = static_cast<int>((pixels + kTile - 1) / kTile);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(tiles), 0);
  pool.run(tiles, [&](int tile) {
    const std::int64_t end = std::min(pixels, (tile + std::int64_t{1}) * kTile);
    std::int64_t count = 0;
    for (std::int64_t block = tile * kTile; block < end; block += kBlock) {
      const std::int64_t stop = std::min(end, block + kBlock);
      const std::uint8_t* b = before + block * pixel_bytes;
      const std::uint8_t* a = after + block * pixel_bytes;
      if (std::memcmp(b, a, static_cast<std::size_t>(stop - block) * size) == 0) continue;
      for (std::int64_t i = block; i < stop; ++i, b += pixel_bytes, a += pixel_bytes)
        count += kept[i] == 255 && std::memcmp(b, a, size) != 0;
    }
    counts[static_cast<std::size_t>(tile)] = count;
  });
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  return total;
}

}  // namespace reknit
