// Mutates JPEG files and runs them through the transcoder; built with sanitizers by test_jpeg_sanitized.py.
// Usage: fuzz_jpeg ROUNDS FILE...
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "jpeg.hpp"

int main(int argc, char** argv) {
  std::mt19937 random(20240229);
  std::vector<std::string> seeds;
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random()) % limit; };
  int whole = 0, refused = 0;
  for (int round = 0; round < std::atoi(argv[1]); ++round) {
    std::string data = seeds[below(seeds.size())];
    for (std::size_t edits = 1 + below(8); edits > 0; --edits) {
      // Headers are a small part of a file and the more interesting one.
      const std::size_t at = below(below(2) && data.size() > 700 ? 700 : data.size());
      switch (below(5)) {
        case 0:
          data[at] = static_cast<char>(0xFF);
          break;
        case 1:
          data.erase(at, 1 + below(16));
          break;
        case 2:
          data.insert(at, data.substr(below(data.size()), 1 + below(64)));
          break;
        default:
          data[at] = static_cast<char>(random());
      }
      if (data.size() < 4) break;
    }
    if (below(4) == 0) data.resize(1 + below(data.size()));
    // A copy of the exact size, so that reading one byte too far is seen.
    const std::vector<std::uint8_t> exact(data.begin(), data.end());
    try {
      reknit::Jpeg jpeg = reknit::Jpeg::read(exact.data(), exact.size());
      if (static_cast<long>(jpeg.width) * jpeg.height < 4000000) {
        const std::vector<std::uint8_t> before(
            static_cast<std::size_t>(jpeg.width) * static_cast<std::size_t>(jpeg.height) * 3, 7);
        std::vector<std::uint8_t> after = before;
        after[below(after.size())] ^= 0x55;
        const auto view = [&](const std::vector<std::uint8_t>& pixels) {
          return reknit::PixelView{pixels.data(), jpeg.width, jpeg.height, jpeg.width * 3, 3, 1, 0, 0};
        };
        const reknit::PixelView old = view(before), fresh = view(after);
        jpeg.update(&old, fresh);
        const int left = static_cast<int>(below(9)) * 8 - 32, top = static_cast<int>(below(9)) * 8 - 32;
        jpeg = jpeg.placed(jpeg.width, jpeg.height, left, top);
        reknit::PixelView moved = old;
        moved.left = left;
        moved.top = top;
        jpeg.update(&moved, fresh);
      }
      const std::string written = jpeg.write("");
      const reknit::Jpeg again =
          reknit::Jpeg::read(reinterpret_cast<const std::uint8_t*>(written.data()), written.size());
      for (std::size_t c = 0; c < jpeg.components.size(); ++c) {
        const auto &mine = jpeg.components[c], &read = again.components[c];
        for (int y = 0; y < mine.blocks_y; ++y)
          for (int x = 0; x < mine.blocks_x; ++x)
            for (int k = 0; k < 64; ++k)
              if (mine.block(x, y)[k] != read.block(x, y)[k]) return std::puts("coefficients differ"), 1;
      }
      ++whole;
    } catch (const reknit::JpegError&) {
      ++refused;
    }
  }
  std::printf("%d whole, %d refused\n", whole, refused);
  return whole > 0 && refused > 0 ? 0 : 1;
}
