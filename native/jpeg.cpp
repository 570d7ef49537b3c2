#include "jpeg.hpp"

#include <algorithm>

#include "jpeg_parts.hpp"

namespace reknit {

void size_up(Jpeg& jpeg, std::size_t* total_blocks) {
  int h = 1, v = 1;
  for (const JpegComponent& part : jpeg.components) {
    h = std::max(h, part.h);
    v = std::max(v, part.v);
  }
  const int mcus_x = ceil_div(jpeg.width, 8 * h), mcus_y = ceil_div(jpeg.height, 8 * v);
  *total_blocks = 0;
  for (JpegComponent& part : jpeg.components) {
    if (h % part.h != 0 || v % part.v != 0) fail("fractional subsampling is not supported");
    part.blocks_x = ceil_div(ceil_div(jpeg.width * part.h, h), 8);
    part.blocks_y = ceil_div(ceil_div(jpeg.height * part.v, v), 8);
    part.stride = mcus_x * part.h;
    part.rows = mcus_y * part.v;
    *total_blocks += static_cast<std::size_t>(part.stride) * static_cast<std::size_t>(part.rows);
  }
}

void take_memory(Jpeg& jpeg) {
  for (JpegComponent& part : jpeg.components)
    part.coefficients.assign(static_cast<std::size_t>(part.stride) * static_cast<std::size_t>(part.rows) * 64,
                             0);
}

int Jpeg::mcu_h() const {
  int most = 1;
  for (const JpegComponent& part : components) most = std::max(most, part.h);
  return most;
}

int Jpeg::mcu_v() const {
  int most = 1;
  for (const JpegComponent& part : components) most = std::max(most, part.v);
  return most;
}

Jpeg Jpeg::placed(int new_width, int new_height, int left, int top) const {
  if (new_width < 1 || new_height < 1 || new_width > 65535 || new_height > 65535)
    fail("a JPEG side is 1 to 65535 px");
  Jpeg out;
  out.width = new_width;
  out.height = new_height;
  out.rgb = rgb;
  out.quantisation = quantisation;
  for (const JpegComponent& part : components) {
    JpegComponent copy;
    copy.id = part.id;
    copy.h = part.h;
    copy.v = part.v;
    copy.table = part.table;
    out.components.push_back(std::move(copy));
  }
  std::size_t blocks = 0;
  size_up(out, &blocks);
  take_memory(out);
  const int mcu_width = 8 * mcu_h(), mcu_height = 8 * mcu_v();
  if (left % mcu_width != 0 || top % mcu_height != 0) return out;
  for (std::size_t c = 0; c < components.size(); ++c) {
    const JpegComponent& from = components[c];
    JpegComponent& to = out.components[c];
    const int dx = left / mcu_width * from.h, dy = top / mcu_height * from.v;
    for (int y = std::max(0, -dy); y < std::min(from.rows, to.rows - dy); ++y)
      for (int x = std::max(0, -dx); x < std::min(from.stride, to.stride - dx); ++x)
        std::copy_n(from.block(x, y), 64, to.block(x + dx, y + dy));
  }
  return out;
}

}  // namespace reknit
