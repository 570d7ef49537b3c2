// JPEG files as quantised DCT coefficients: read, replace blocks whose pixels changed, write again.
//
// Reads baseline, extended sequential and progressive Huffman files of 8 bits with one or three components
// (ITU-T T.81); writes sequential files with Huffman tables made for them. What is not replaced is written as
// it was read, coefficient by coefficient. Input is hostile: every length is checked, and memory is taken
// only for what the file could fill. It knows nothing of EXIF and of other segments beyond the colour
// transform they imply.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace reknit {

// The file is sound but of a kind that is not handled, or it is damaged.
class JpegError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A view of interleaved 8-bit samples; strides in bytes, so that turned pictures need no copy. (left, top) is
// where its first pixel lies in the picture it is compared with.
struct PixelView {
  const std::uint8_t* data;
  int width;
  int height;
  std::ptrdiff_t row;
  std::ptrdiff_t column;
  std::ptrdiff_t channel;
  int left = 0;
  int top = 0;

  bool holds(int x, int y) const { return x >= left && x < left + width && y >= top && y < top + height; }
  const std::uint8_t* at(int x, int y) const { return data + (y - top) * row + (x - left) * column; }
};

struct JpegComponent {
  int id = 0;
  int h = 1, v = 1;  // sampling factors
  int table = 0;     // which quantisation table
  int blocks_x = 0;  // blocks that hold the picture
  int blocks_y = 0;
  int stride = 0;  // blocks in a row, padded to whole MCUs
  int rows = 0;
  std::vector<std::int16_t> coefficients;  // rows × stride × 64, natural order

  std::int16_t* block(int x, int y) {
    return coefficients.data() +
           (static_cast<std::size_t>(y) * static_cast<std::size_t>(stride) + static_cast<std::size_t>(x)) *
               64;
  }
  const std::int16_t* block(int x, int y) const { return const_cast<JpegComponent*>(this)->block(x, y); }
};

struct JpegCounts {
  std::int64_t carried = 0;
  std::int64_t total = 0;
};

class Jpeg {
 public:
  // Parses and decodes the entropy-coded data. Throws JpegError.
  static Jpeg read(const std::uint8_t* data, std::size_t size);

  // A picture of another size with the same tables, sampling and colour transform, on which this one lies at
  // (left, top), maybe partly outside. Its coefficients are carried over if the place is a whole number of
  // MCUs away from the corner; the others are zero.
  Jpeg placed(int width, int height, int left, int top) const;

  // Codes again the blocks in whose area `after` differs from `before` (every block if `before` is null).
  // Samples that did not change keep the value that the old coefficients give, so that a block is disturbed
  // only by its changed part. Throws JpegError if the sizes differ from the picture's.
  JpegCounts update(const PixelView* before, const PixelView& after);

  // The file: SOI, the given segments, tables, one scan (or one a component), EOI. Throws JpegError.
  std::string write(const std::string& segments) const;

  int width = 0;
  int height = 0;
  bool progressive = false;
  bool rgb = false;     // components hold R, G, B rather than Y, Cb, Cr
  std::size_t end = 0;  // offset after EOI; bytes behind it are not part of the picture
  std::vector<JpegComponent> components;
  std::array<std::array<std::uint16_t, 64>, 4> quantisation{};  // natural order

 private:
  int mcu_h() const;
  int mcu_v() const;
};

}  // namespace reknit
