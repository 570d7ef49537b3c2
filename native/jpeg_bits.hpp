// Huffman tables and bits of entropy-coded data, for reading.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "jpeg_parts.hpp"

namespace reknit {

struct DecodeTable {
  static constexpr int kFast = 9;
  bool present = false;
  std::array<std::uint16_t, 1 << kFast> fast{};  // length << 8 | symbol, 0 = longer
  std::array<std::int32_t, 18> max_code{};       // largest code of a length, -1 = none
  std::array<std::int32_t, 17> offset{};
  std::array<std::uint8_t, 256> symbols{};

  void build(const std::uint8_t* counts, const std::uint8_t* values, int total) {
    std::copy(values, values + total, symbols.begin());
    fast.fill(0);
    int code = 0, index = 0;
    for (int length = 1; length <= 16; ++length) {
      const int count = counts[length - 1];
      if (code + count > (1 << length)) fail("a Huffman table holds more codes than fit");
      offset[static_cast<std::size_t>(length)] = index - code;
      for (int i = 0; i < count; ++i, ++code, ++index) {
        if (length > kFast) continue;
        const int shift = kFast - length;
        for (int low = 0; low < (1 << shift); ++low)
          fast[static_cast<std::size_t>((code << shift) | low)] =
              static_cast<std::uint16_t>((length << 8) | symbols[static_cast<std::size_t>(index)]);
      }
      max_code[static_cast<std::size_t>(length)] = count ? code - 1 : -1;
      code <<= 1;
    }
    max_code[17] = 0xFFFFF;
    present = true;
  }
};

// Reads bits of entropy-coded data up to the next marker; behind it come zeros, which are counted.
class BitReader {
 public:
  BitReader(const std::uint8_t* at, const std::uint8_t* end) : at_(at), end_(end) {}

  int bit() { return static_cast<int>(bits(1)); }

  std::uint32_t bits(int count) {  // count <= 16
    if (count == 0) return 0;
    if (have_ < count) fill();
    have_ -= count;
    return static_cast<std::uint32_t>(store_ >> have_) & ((1u << count) - 1u);
  }

  int symbol(const DecodeTable& table) {
    if (have_ < 16) fill();
    const auto peek = static_cast<std::uint32_t>(store_ >> (have_ - 16)) & 0xFFFFu;
    const std::uint16_t hit = table.fast[peek >> (16 - DecodeTable::kFast)];
    if (hit != 0) {
      have_ -= hit >> 8;
      return hit & 0xFF;
    }
    for (int length = DecodeTable::kFast + 1; length <= 16; ++length) {
      const auto code = static_cast<std::int32_t>(peek >> (16 - length));
      if (code <= table.max_code[static_cast<std::size_t>(length)]) {
        have_ -= length;
        const std::int32_t index = code + table.offset[static_cast<std::size_t>(length)];
        if (index < 0 || index > 255) fail("a Huffman code points outside its table");
        return table.symbols[static_cast<std::size_t>(index)];
      }
    }
    fail("the data hold a code that is in no Huffman table");
  }

  // A value of `size` bits in JPEG's signed form (T.81, F.2.2.1 EXTEND).
  int value(int size) {
    if (size == 0) return 0;
    const int raw = static_cast<int>(bits(size));
    return raw < (1 << (size - 1)) ? raw - (1 << size) + 1 : raw;
  }

  // Throws if bits were read that the file does not have.
  void check() const {
    if (have_ < padded_) fail("the entropy-coded data end early");
  }

  const std::uint8_t* position() const { return at_; }

 private:
  void fill() {
    while (have_ <= 48) {
      std::uint64_t next = 0;
      if (at_ < end_ && *at_ != 0xFF) {
        next = *at_++;
      } else if (at_ + 1 < end_ && at_[1] == 0) {
        next = 0xFF;
        at_ += 2;
      } else {
        padded_ += 8;
        if (padded_ > (1 << 24)) fail("the entropy-coded data end early");
      }
      store_ = (store_ << 8) | next;
      have_ += 8;
    }
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::uint64_t store_ = 0;
  int have_ = 0;
  int padded_ = 0;
};

}  // namespace reknit
