#include "jpeg.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace reknit {
namespace {

constexpr int kMaxScans = 200;

// Position in natural order of the k-th coefficient in zigzag order; 16 more for runs that overshoot.
constexpr std::uint8_t kNatural[64 + 16] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                            12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                            35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                            58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
                                            63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

[[noreturn]] void fail(const char* why) { throw JpegError(why); }

int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- Huffman decoding

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

struct Scan {
  std::vector<int> parts;  // indices of components
  std::array<int, 4> dc{}, ac{};
  int start = 0, stop = 63, high = 0, low = 0;
};

// ---- Parser and entropy decoder

class Reader {
 public:
  Reader(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  Jpeg run() {
    if (size_ < 4 || data_[0] != 0xFF || data_[1] != 0xD8) fail("no JPEG");
    at_ = 2;
    while (true) {
      const int marker = next_marker();
      if (marker == 0xD9) break;
      if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;
      segment(marker);
    }
    jpeg_.end = at_;
    finish();
    return std::move(jpeg_);
  }

 private:
  int next_marker() {
    while (true) {
      while (at_ < size_ && data_[at_] != 0xFF) ++at_;
      while (at_ < size_ && data_[at_] == 0xFF) ++at_;
      if (at_ >= size_) fail("the file ends early");
      if (data_[at_++] != 0) return data_[at_ - 1];
    }
  }

  void segment(int marker) {
    if (at_ + 2 > size_) fail("the file ends early");
    const std::size_t length = static_cast<std::size_t>(data_[at_] << 8 | data_[at_ + 1]);
    if (length < 2 || length > size_ - at_) fail("a segment is longer than the file");
    const std::uint8_t* body = data_ + at_ + 2;
    const std::size_t size = length - 2;
    at_ += length;
    switch (marker) {
      case 0xC0:
      case 0xC1:
      case 0xC2:
        return frame(body, size, marker == 0xC2);
      case 0xC4:
        return huffman(body, size);
      case 0xDB:
        return quantisation(body, size);
      case 0xDD:
        if (size < 2) fail("a segment is too short");
        restart_ = body[0] << 8 | body[1];
        return;
      case 0xDA:
        return scan(body, size);
      case 0xE0:
        jfif_ = jfif_ || (size >= 5 && std::memcmp(body, "JFIF\0", 5) == 0);
        return;
      case 0xEE:
        if (size >= 12 && std::memcmp(body, "Adobe", 5) == 0) adobe_ = body[11];
        return;
      case 0xCC:
        fail("arithmetic coding is not supported");
      case 0xDC:
        fail("a height given after the data (DNL) is not supported");
      default:
        if (marker >= 0xC3 && marker <= 0xCF && marker != 0xC8)
          fail("lossless, hierarchical or arithmetic coding is not supported");
    }
  }

  void frame(const std::uint8_t* body, std::size_t size, bool progressive) {
    if (!jpeg_.components.empty()) fail("the file holds two frames");
    if (size < 6) fail("a segment is too short");
    if (body[0] != 8) fail("only 8 bits a sample are supported");
    jpeg_.progressive = progressive;
    jpeg_.height = body[1] << 8 | body[2];
    jpeg_.width = body[3] << 8 | body[4];
    const int count = body[5];
    if (jpeg_.width == 0 || jpeg_.height == 0) fail("the picture has no size");
    if (count != 1 && count != 3) fail("only one or three components are supported");
    if (size < 6 + 3 * static_cast<std::size_t>(count)) fail("a segment is too short");
    for (int i = 0; i < count; ++i) {
      const std::uint8_t* entry = body + 6 + 3 * i;
      JpegComponent part;
      part.id = entry[0];
      part.h = entry[1] >> 4;
      part.v = entry[1] & 15;
      part.table = entry[2];
      if (part.h < 1 || part.h > 4 || part.v < 1 || part.v > 4 || part.table > 3)
        fail("a component is damaged");
      for (const JpegComponent& other : jpeg_.components)
        if (other.id == part.id) fail("two components have the same name");
      if (count == 1) part.h = part.v = 1;  // one component is never interleaved: its factors mean nothing
      jpeg_.components.push_back(std::move(part));
    }
    layout();
  }

  void layout();

  void huffman(const std::uint8_t* body, std::size_t size) {
    while (size > 0) {
      if (size < 17) fail("a Huffman table is damaged");
      const int kind = body[0] >> 4, index = body[0] & 15;
      int total = 0;
      for (int i = 1; i <= 16; ++i) total += body[i];
      if (kind > 1 || index > 3 || total > 256 || size < 17 + static_cast<std::size_t>(total))
        fail("a Huffman table is damaged");
      (kind == 0 ? dc_ : ac_)[static_cast<std::size_t>(index)].build(body + 1, body + 17, total);
      body += 17 + total;
      size -= 17 + static_cast<std::size_t>(total);
    }
  }

  void quantisation(const std::uint8_t* body, std::size_t size) {
    while (size > 0) {
      const bool wide = (body[0] >> 4) != 0;
      const std::size_t index = body[0] & 15, need = wide ? 129 : 65;
      if (index > 3 || size < need) fail("a quantisation table is damaged");
      std::array<std::uint16_t, 64> table{};
      for (std::size_t k = 0; k < 64; ++k) {
        const int value = wide ? body[1 + 2 * k] << 8 | body[2 + 2 * k] : body[1 + k];
        if (value == 0) fail("a quantisation table is damaged");
        table[kNatural[k]] = static_cast<std::uint16_t>(value);
      }
      if (scanned_ && table != jpeg_.quantisation[index])
        fail("quantisation tables that change are not supported");
      jpeg_.quantisation[index] = table;
      body += need;
      size -= need;
    }
  }

  void scan(const std::uint8_t* body, std::size_t size);
  void decode(const Scan& scan, BitReader& bits, std::int16_t* block, int slot);
  void sequential(const Scan& scan, BitReader& bits, std::int16_t* block, int slot);
  void first_ac(const Scan& scan, BitReader& bits, std::int16_t* block);
  void refine_ac(const Scan& scan, BitReader& bits, std::int16_t* block);
  void track(const Scan& scan);
  void finish();

  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
  Jpeg jpeg_;
  std::array<DecodeTable, 4> dc_, ac_;
  int restart_ = 0;
  bool jfif_ = false;
  int adobe_ = -1;
  bool scanned_ = false;
  int scans_ = 0;
  std::array<int, 4> predicted_{};
  int end_of_band_ = 0;
  std::array<std::array<std::int8_t, 64>, 3> depth_{};  // lowest bit known of each coefficient; -1 = none
};

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

void Reader::layout() {
  std::size_t blocks = 0;
  size_up(jpeg_, &blocks);
  // Each block costs at least one bit of data: a file that promises more than it could hold gets no memory.
  if (blocks / 8 > size_ - at_) fail("the file is too short for its size in pixels");
  take_memory(jpeg_);
  for (auto& component : depth_) component.fill(-1);
}

void Reader::scan(const std::uint8_t* body, std::size_t size) {
  if (jpeg_.components.empty()) fail("a scan comes before the frame");
  if (++scans_ > kMaxScans) fail("too many scans");
  scanned_ = true;
  Scan scan;
  const int count = size > 0 ? body[0] : 0;
  if (count < 1 || count > 3 || size < 4 + 2 * static_cast<std::size_t>(count)) fail("a scan is damaged");
  for (int i = 0; i < count; ++i) {
    const int id = body[1 + 2 * i], tables = body[2 + 2 * i];
    int found = -1;
    for (std::size_t c = 0; c < jpeg_.components.size(); ++c)
      if (jpeg_.components[c].id == id) found = static_cast<int>(c);
    if (found < 0 || std::count(scan.parts.begin(), scan.parts.end(), found) != 0) fail("a scan is damaged");
    if ((tables >> 4) > 3 || (tables & 15) > 3) fail("a scan is damaged");
    scan.parts.push_back(found);
    scan.dc[static_cast<std::size_t>(i)] = tables >> 4;
    scan.ac[static_cast<std::size_t>(i)] = tables & 15;
  }
  int in_mcu = 0;
  for (const int c : scan.parts) {
    const JpegComponent& part = jpeg_.components[static_cast<std::size_t>(c)];
    in_mcu += part.h * part.v;
  }
  if (count > 1 && in_mcu > 10) fail("a scan interleaves too many blocks");  // T.81, B.2.3
  const std::uint8_t* spectral = body + 1 + 2 * count;
  scan.start = spectral[0];
  scan.stop = spectral[1];
  scan.high = spectral[2] >> 4;
  scan.low = spectral[2] & 15;
  if (!jpeg_.progressive) {
    scan.start = 0, scan.stop = 63, scan.high = 0, scan.low = 0;
  } else if (scan.start > scan.stop || scan.stop > 63 || scan.low > 13 ||
             (scan.start == 0) != (scan.stop == 0) || (scan.start > 0 && count != 1) ||
             (scan.high != 0 && scan.high != scan.low + 1)) {
    fail("a scan is damaged");
  }
  for (std::size_t i = 0; i < scan.parts.size(); ++i) {
    const bool needs_dc = scan.start == 0 && scan.high == 0;
    const bool needs_ac = scan.stop > 0;
    if ((needs_dc && !dc_[static_cast<std::size_t>(scan.dc[i])].present) ||
        (needs_ac && !ac_[static_cast<std::size_t>(scan.ac[i])].present))
      fail("a scan has no Huffman table");
  }
  track(scan);

  int units_x, units_y;
  if (count == 1) {
    const JpegComponent& part = jpeg_.components[static_cast<std::size_t>(scan.parts[0])];
    units_x = part.blocks_x, units_y = part.blocks_y;
  } else {
    const JpegComponent& part = jpeg_.components[static_cast<std::size_t>(scan.parts[0])];
    units_x = part.stride / part.h, units_y = part.rows / part.v;
  }
  predicted_.fill(0);
  end_of_band_ = 0;
  BitReader bits(data_ + at_, data_ + size_);
  int until_restart = restart_, next_restart = 0;
  for (int y = 0; y < units_y; ++y) {
    for (int x = 0; x < units_x; ++x) {
      if (restart_ > 0 && until_restart == 0) {
        bits.check();
        at_ = static_cast<std::size_t>(bits.position() - data_);
        if (next_marker() != 0xD0 + next_restart) fail("a restart marker is missing");
        next_restart = (next_restart + 1) & 7;
        until_restart = restart_;
        predicted_.fill(0);
        end_of_band_ = 0;
        bits = BitReader(data_ + at_, data_ + size_);
      }
      for (std::size_t i = 0; i < scan.parts.size(); ++i) {
        JpegComponent& part = jpeg_.components[static_cast<std::size_t>(scan.parts[i])];
        const int wide = count == 1 ? 1 : part.h, tall = count == 1 ? 1 : part.v;
        for (int v = 0; v < tall; ++v)
          for (int h = 0; h < wide; ++h)
            decode(scan, bits, part.block(x * wide + h, y * tall + v), static_cast<int>(i));
      }
      --until_restart;
    }
    bits.check();
  }
  at_ = static_cast<std::size_t>(bits.position() - data_);
}

void Reader::track(const Scan& scan) {
  for (const int c : scan.parts) {
    auto& depth = depth_[static_cast<std::size_t>(c)];
    for (int k = scan.start; k <= scan.stop; ++k) {
      auto& known = depth[static_cast<std::size_t>(k)];
      if (scan.high == 0 ? known >= 0 : known != scan.high) fail("scans are out of order");
      known = static_cast<std::int8_t>(scan.low);
    }
    if (scan.start > 0 && depth[0] < 0) fail("scans are out of order");
  }
}

void Reader::decode(const Scan& scan, BitReader& bits, std::int16_t* block, int slot) {
  if (!jpeg_.progressive) return sequential(scan, bits, block, slot);
  if (scan.start > 0) return scan.high == 0 ? first_ac(scan, bits, block) : refine_ac(scan, bits, block);
  if (scan.high != 0) {
    if (bits.bit()) block[0] = static_cast<std::int16_t>(block[0] | (1 << scan.low));
    return;
  }
  const auto s = static_cast<std::size_t>(slot);
  const int size = bits.symbol(dc_[static_cast<std::size_t>(scan.dc[s])]);
  if (size > 15) fail("a coefficient is out of range");
  predicted_[s] += bits.value(size);
  const int value = predicted_[s] * (1 << scan.low);
  if (value < -32768 || value > 32767) fail("a coefficient is out of range");
  block[0] = static_cast<std::int16_t>(value);
}

void Reader::sequential(const Scan& scan, BitReader& bits, std::int16_t* block, int slot) {
  const auto s = static_cast<std::size_t>(slot);
  const int size = bits.symbol(dc_[static_cast<std::size_t>(scan.dc[s])]);
  if (size > 15) fail("a coefficient is out of range");
  predicted_[s] += bits.value(size);
  if (predicted_[s] < -32768 || predicted_[s] > 32767) fail("a coefficient is out of range");
  block[0] = static_cast<std::int16_t>(predicted_[s]);
  const DecodeTable& table = ac_[static_cast<std::size_t>(scan.ac[s])];
  for (int k = 1; k < 64; ++k) {
    const int symbol = bits.symbol(table);
    const int run = symbol >> 4, length = symbol & 15;
    if (length == 0) {
      if (run != 15) return;
      k += 15;
      continue;
    }
    k += run;
    if (k > 63) fail("a block holds more than 64 coefficients");
    block[kNatural[k]] = static_cast<std::int16_t>(bits.value(length));
  }
}

void Reader::first_ac(const Scan& scan, BitReader& bits, std::int16_t* block) {
  if (end_of_band_ > 0) {
    --end_of_band_;
    return;
  }
  const DecodeTable& table = ac_[static_cast<std::size_t>(scan.ac[0])];
  for (int k = scan.start; k <= scan.stop; ++k) {
    const int symbol = bits.symbol(table);
    const int run = symbol >> 4, length = symbol & 15;
    if (length == 0) {
      if (run != 15) {
        end_of_band_ = (1 << run) - 1 + static_cast<int>(bits.bits(run));
        return;
      }
      k += 15;
      continue;
    }
    k += run;
    if (k > 63) fail("a block holds more than 64 coefficients");
    const int value = bits.value(length) * (1 << scan.low);
    if (value < -32768 || value > 32767) fail("a coefficient is out of range");
    block[kNatural[k]] = static_cast<std::int16_t>(value);
  }
}

// T.81, G.1.2.3: bits that refine known coefficients are interleaved with newly significant ones.
void Reader::refine_ac(const Scan& scan, BitReader& bits, std::int16_t* block) {
  const int plus = 1 << scan.low;
  const auto refine = [&](std::int16_t& value) {
    if (bits.bit() && (value & plus) == 0)
      value = static_cast<std::int16_t>(value >= 0 ? value + plus : value - plus);
  };
  int k = scan.start;
  if (end_of_band_ == 0) {
    const DecodeTable& table = ac_[static_cast<std::size_t>(scan.ac[0])];
    for (; k <= scan.stop; ++k) {
      const int symbol = bits.symbol(table);
      int run = symbol >> 4;
      const int length = symbol & 15;
      int value = 0;
      if (length == 0) {
        if (run != 15) {
          end_of_band_ = (1 << run) + static_cast<int>(bits.bits(run));
          break;
        }
      } else {
        if (length != 1) fail("a refinement is damaged");
        value = bits.bit() ? plus : -plus;
      }
      for (; k <= scan.stop; ++k) {
        std::int16_t& coefficient = block[kNatural[k]];
        if (coefficient != 0) {
          refine(coefficient);
        } else {
          if (run == 0) {
            if (value != 0) coefficient = static_cast<std::int16_t>(value);
            break;
          }
          --run;
        }
      }
    }
  }
  if (end_of_band_ > 0) {
    for (; k <= scan.stop; ++k) {
      std::int16_t& coefficient = block[kNatural[k]];
      if (coefficient != 0) refine(coefficient);
    }
    --end_of_band_;
  }
}

void Reader::finish() {
  if (!scanned_) fail("the file holds no picture");
  for (std::size_t c = 0; c < jpeg_.components.size(); ++c) {
    for (std::size_t k = 0; k < 64; ++k) {
      const int known = depth_[c][k];
      // Decoders smooth pictures whose low frequencies are incomplete: these cannot be carried as they are.
      if (known > 0 || (known < 0 && k < 10))
        fail("a progressive file whose scans are incomplete is not supported");
    }
    if (jpeg_.quantisation[static_cast<std::size_t>(jpeg_.components[c].table)][0] == 0)
      fail("a quantisation table is missing");
  }
  if (jpeg_.components.size() == 3) {
    const auto& parts = jpeg_.components;
    const bool named_rgb = parts[0].id == 'R' && parts[1].id == 'G' && parts[2].id == 'B';
    jpeg_.rgb = !jfif_ && (adobe_ >= 0 ? adobe_ == 0 : named_rgb);
  }
}

// ---- The transform (T.81, A.3.3), as two products with an 8×8 matrix

struct Cosines {
  float at[8][8];  // [frequency][sample]
  Cosines() {
    for (int u = 0; u < 8; ++u)
      for (int x = 0; x < 8; ++x)
        at[u][x] = static_cast<float>((u == 0 ? std::sqrt(0.125) : 0.5) *
                                      std::cos((2 * x + 1) * u * 3.14159265358979323846 / 16.0));
  }
};

const Cosines& cosines() {
  static const Cosines table;
  return table;
}

void inverse(const float* in, float* out) {
  const auto& c = cosines().at;
  float half[64];
  for (int v = 0; v < 8; ++v) {
    float row[8] = {};
    for (int u = 0; u < 8; ++u)
      for (int x = 0; x < 8; ++x) row[x] += in[v * 8 + u] * c[u][x];
    std::copy(row, row + 8, half + v * 8);
  }
  std::fill(out, out + 64, 0.0f);
  for (int v = 0; v < 8; ++v)
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) out[y * 8 + x] += half[v * 8 + x] * c[v][y];
}

void forward(const float* in, float* out) {
  const auto& c = cosines().at;
  float half[64] = {};
  for (int v = 0; v < 8; ++v)
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) half[v * 8 + x] += in[y * 8 + x] * c[v][y];
  for (int v = 0; v < 8; ++v)
    for (int u = 0; u < 8; ++u) {
      float sum = 0;
      for (int x = 0; x < 8; ++x) sum += half[v * 8 + x] * c[u][x];
      out[v * 8 + u] = sum;
    }
}

// ---- Replacing blocks

// One sample of a component from an RGB pixel, less 128 (JFIF 1.02; T.871).
float sample(const std::uint8_t* p, std::ptrdiff_t step, int component, bool colour, bool rgb) {
  if (!colour) return static_cast<float>(p[0]) - 128.0f;
  if (rgb) return static_cast<float>(p[component * step]) - 128.0f;
  const float r = p[0], g = p[step], b = p[2 * step];
  if (component == 0) return 0.299f * r + 0.587f * g + 0.114f * b - 128.0f;
  if (component == 1) return -0.168735892f * r - 0.331264108f * g + 0.5f * b;
  return 0.5f * r - 0.418687589f * g - 0.081312411f * b;
}

class Updater {
 public:
  Updater(Jpeg& jpeg, const PixelView* before, const PixelView& after, int h, int v)
      : jpeg_(jpeg), before_(before), after_(after), h_(h), v_(v) {}

  // Codes one MCU again where it changed; returns how many of its blocks were.
  int mcu(int mx, int my) {
    if (before_ != nullptr && !differs(mx, my)) return 0;
    int changed = 0;
    for (std::size_t c = 0; c < jpeg_.components.size(); ++c) {
      JpegComponent& part = jpeg_.components[c];
      for (int v = 0; v < part.v; ++v)
        for (int h = 0; h < part.h; ++h)
          changed += block(static_cast<int>(c), mx * part.h + h, my * part.v + v) ? 1 : 0;
    }
    return changed;
  }

 private:
  bool same(int x, int y) const {
    if (!before_->holds(x, y)) return false;
    const std::uint8_t *a = before_->at(x, y), *b = after_.at(x, y);
    const std::ptrdiff_t s = before_->channel, t = after_.channel;
    return a[0] == b[0] && a[s] == b[t] && a[2 * s] == b[2 * t];
  }

  bool differs(int mx, int my) const {
    const int x0 = mx * 8 * h_, x1 = std::min(x0 + 8 * h_, jpeg_.width);
    const int y0 = my * 8 * v_, y1 = std::min(y0 + 8 * v_, jpeg_.height);
    const bool packed =
        before_->channel == 1 && after_.channel == 1 && before_->column == 3 && after_.column == 3;
    if (!before_->holds(x0, y0) || !before_->holds(x1 - 1, y1 - 1)) return true;
    for (int y = y0; y < y1; ++y) {
      if (packed) {
        if (std::memcmp(before_->at(x0, y), after_.at(x0, y), 3 * static_cast<std::size_t>(x1 - x0)) != 0)
          return true;
      } else {
        for (int x = x0; x < x1; ++x)
          if (!same(x, y)) return true;
      }
    }
    return false;
  }

  // Samples beyond the picture's edge repeat the edge, changed or not.
  bool block(int c, int bx, int by) {
    JpegComponent& part = jpeg_.components[static_cast<std::size_t>(c)];
    const int sx = h_ / part.h, sy = v_ / part.v;
    float fresh[64];
    bool is_new[64];
    int news = 0;
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) {
        const int i = y * 8 + x;
        is_new[i] = cell(c, (bx * 8 + x) * sx, (by * 8 + y) * sy, sx, sy, &fresh[i]);
        news += is_new[i] ? 1 : 0;
      }
    if (news == 0) return false;
    std::int16_t* coefficients = part.block(bx, by);
    const auto& steps = jpeg_.quantisation[static_cast<std::size_t>(part.table)];
    float spectrum[64];
    if (news < 64) {
      for (std::size_t i = 0; i < 64; ++i) spectrum[i] = static_cast<float>(coefficients[i] * steps[i]);
      float old[64];
      inverse(spectrum, old);
      for (int i = 0; i < 64; ++i)
        if (!is_new[i]) fresh[i] = old[i];
    }
    forward(fresh, spectrum);
    for (std::size_t i = 0; i < 64; ++i) {
      const float value = std::floor(spectrum[i] / static_cast<float>(steps[i]) + 0.5f);
      coefficients[i] = static_cast<std::int16_t>(std::max(-1023.0f, std::min(1023.0f, value)));
    }
    return true;
  }

  // The mean over the pixels of one sample's cell; returns whether any of them changed.
  bool cell(int c, int x0, int y0, int sx, int sy, float* mean) const {
    bool changed = before_ == nullptr;
    for (int y = y0; y < y0 + sy && !changed; ++y)
      for (int x = x0; x < x0 + sx && !changed; ++x) changed = !same(clamp_x(x), clamp_y(y));
    if (!changed) return false;
    float sum = 0;
    const bool colour = jpeg_.components.size() == 3;
    for (int y = y0; y < y0 + sy; ++y)
      for (int x = x0; x < x0 + sx; ++x)
        sum += sample(after_.at(clamp_x(x), clamp_y(y)), after_.channel, c, colour, jpeg_.rgb);
    *mean = sum / static_cast<float>(sx * sy);
    return true;
  }

  int clamp_x(int x) const { return std::min(x, jpeg_.width - 1); }
  int clamp_y(int y) const { return std::min(y, jpeg_.height - 1); }

  Jpeg& jpeg_;
  const PixelView* before_;
  const PixelView& after_;
  int h_, v_;
};

// ---- Huffman encoding

constexpr std::array<std::uint8_t, 4096> magnitudes() {
  std::array<std::uint8_t, 4096> sizes{};
  for (std::size_t i = 1; i < sizes.size(); ++i) sizes[i] = static_cast<std::uint8_t>(sizes[i >> 1] + 1);
  return sizes;
}

constexpr std::array<std::uint8_t, 4096> kMagnitude = magnitudes();

// Bits in the magnitude of values up to ±4095; 13 beyond.
int magnitude(int value) {
  const auto size = static_cast<std::size_t>(value < 0 ? -value : value);
  return size < kMagnitude.size() ? kMagnitude[size] : 13;
}

struct EncodeTable {
  std::array<std::int64_t, 257> counts{};
  std::array<std::uint16_t, 256> code{};
  std::array<std::uint8_t, 256> length{};
  std::array<std::uint8_t, 17> lengths{};  // how many codes of each length
  std::vector<std::uint8_t> symbols;       // by code length

  // Code lengths as T.81, K.2: Huffman's tree, limited to 16 bits, no code of ones only.
  void build() {
    std::array<std::int64_t, 257> weight = counts;
    std::array<int, 257> size{}, other{};
    other.fill(-1);
    weight[256] = 1;
    while (true) {
      int least = -1, next = -1;
      for (int i = 0; i <= 256; ++i) {
        const std::int64_t w = weight[static_cast<std::size_t>(i)];
        if (w == 0) continue;
        if (least < 0 || w <= weight[static_cast<std::size_t>(least)]) {
          next = least;
          least = i;
        } else if (next < 0 || w <= weight[static_cast<std::size_t>(next)]) {
          next = i;
        }
      }
      if (next < 0) break;
      weight[static_cast<std::size_t>(least)] += weight[static_cast<std::size_t>(next)];
      weight[static_cast<std::size_t>(next)] = 0;
      for (int branch : {least, next})
        for (int i = branch; i >= 0; i = other[static_cast<std::size_t>(i)])
          ++size[static_cast<std::size_t>(i)];
      int tail = least;
      while (other[static_cast<std::size_t>(tail)] >= 0) tail = other[static_cast<std::size_t>(tail)];
      other[static_cast<std::size_t>(tail)] = next;
    }
    assign(size);
  }

 private:
  void assign(const std::array<int, 257>& size) {
    std::array<int, 260> bits{};
    int longest = 0;
    for (const int s : size) {
      if (s > 0) ++bits[static_cast<std::size_t>(s)];
      longest = std::max(longest, s);
    }
    for (int i = longest; i > 16; --i)
      while (bits[static_cast<std::size_t>(i)] > 0) {
        int j = i - 2;
        while (bits[static_cast<std::size_t>(j)] == 0) --j;
        bits[static_cast<std::size_t>(i)] -= 2;
        ++bits[static_cast<std::size_t>(i - 1)];
        bits[static_cast<std::size_t>(j + 1)] += 2;
        --bits[static_cast<std::size_t>(j)];
      }
    int last = std::min(longest, 16);
    while (bits[static_cast<std::size_t>(last)] == 0) --last;
    --bits[static_cast<std::size_t>(last)];  // the reserved code of ones
    std::vector<int> order;
    for (int s = 1; s <= longest; ++s)
      for (int i = 0; i < 256; ++i)
        if (size[static_cast<std::size_t>(i)] == s) order.push_back(i);
    int next = 0, value = 0;
    for (int s = 1; s <= 16; ++s, value <<= 1)
      for (int i = 0; i < bits[static_cast<std::size_t>(s)]; ++i) {
        const auto symbol = static_cast<std::size_t>(order[static_cast<std::size_t>(next++)]);
        symbols.push_back(static_cast<std::uint8_t>(symbol));
        code[symbol] = static_cast<std::uint16_t>(value++);
        length[symbol] = static_cast<std::uint8_t>(s);
        ++lengths[static_cast<std::size_t>(s)];
      }
  }
};

class Counter {
 public:
  void begin_block() {}
  void symbol(EncodeTable& table, int symbol) { ++table.counts[static_cast<std::size_t>(symbol)]; }
  void symbol(EncodeTable& table, int symbol, int, int) { ++table.counts[static_cast<std::size_t>(symbol)]; }
};

class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}

  // A block is at most 64 codes of 16 + 11 bits, each byte maybe stuffed: 432 bytes.
  void begin_block() {
    if (used_ > buffer_.size() - 512) flush();
  }

  void symbol(const EncodeTable& table, int symbol) {
    put(table.code[static_cast<std::size_t>(symbol)], table.length[static_cast<std::size_t>(symbol)]);
  }

  // A symbol and, in JPEG's signed form, the value whose size it tells: negative values are stored less 1.
  void symbol(const EncodeTable& table, int symbol, int value, int size) {
    const std::uint32_t low = static_cast<std::uint32_t>(value < 0 ? value - 1 : value) & ((1u << size) - 1u);
    const auto s = static_cast<std::size_t>(symbol);
    put(static_cast<std::uint32_t>(table.code[s]) << size | low, table.length[s] + size);
  }

  void finish() {
    if (have_ % 8 != 0) put((1u << (8 - have_ % 8)) - 1u, 8 - have_ % 8);
    drain();
    flush();
  }

 private:
  void put(std::uint32_t value, int count) {  // count <= 27
    store_ = (store_ << count) | value;
    have_ += count;
    if (have_ > 32) drain();
  }

  void drain() {
    while (have_ >= 8) {
      have_ -= 8;
      const auto byte = static_cast<std::uint8_t>(store_ >> have_);
      buffer_[used_++] = static_cast<char>(byte);
      if (byte == 0xFF) buffer_[used_++] = 0;
    }
  }

  void flush() {
    out_.append(buffer_.data(), used_);
    used_ = 0;
  }

  std::string& out_;
  std::array<char, 1 << 15> buffer_;
  std::size_t used_ = 0;
  std::uint64_t store_ = 0;
  int have_ = 0;
};

template <typename Sink>
void code_block(const std::int16_t* block, int& predicted, EncodeTable& dc, EncodeTable& ac, Sink& sink) {
  sink.begin_block();
  const int difference = block[0] - predicted;
  predicted = block[0];
  int size = magnitude(difference);
  if (size > 11) fail("a coefficient is too large for 8-bit JPEG");
  sink.symbol(dc, size, difference, size);
  int run = 0;
  for (int k = 1; k < 64; ++k) {
    const int value = block[kNatural[k]];
    if (value == 0) {
      ++run;
      continue;
    }
    for (; run > 15; run -= 16) sink.symbol(ac, 0xF0);
    size = magnitude(value);
    if (size > 10) fail("a coefficient is too large for 8-bit JPEG");
    sink.symbol(ac, run << 4 | size, value, size);
    run = 0;
  }
  if (run > 0) sink.symbol(ac, 0);
}

// Walks a scan's blocks in coding order: whole MCUs, or the blocks of one component.
template <typename Sink>
void code_scan(const Jpeg& jpeg, const std::vector<std::size_t>& parts, std::array<EncodeTable, 2>& dc,
               std::array<EncodeTable, 2>& ac, Sink& sink) {
  std::array<int, 3> predicted{};
  const JpegComponent& first = jpeg.components[parts[0]];
  const bool alone = parts.size() == 1;
  const int units_x = alone ? first.blocks_x : first.stride / first.h;
  const int units_y = alone ? first.blocks_y : first.rows / first.v;
  for (int y = 0; y < units_y; ++y)
    for (int x = 0; x < units_x; ++x)
      for (const std::size_t c : parts) {
        const JpegComponent& part = jpeg.components[c];
        const int wide = alone ? 1 : part.h, tall = alone ? 1 : part.v;
        const std::size_t table = c == 0 || jpeg.rgb ? 0 : 1;
        for (int v = 0; v < tall; ++v)
          for (int h = 0; h < wide; ++h)
            code_block(part.block(x * wide + h, y * tall + v), predicted[c], dc[table], ac[table], sink);
      }
}

void put_word(std::string& out, std::size_t value) {
  out.push_back(static_cast<char>(value >> 8 & 0xFF));
  out.push_back(static_cast<char>(value & 0xFF));
}

void put_marker(std::string& out, int marker, std::size_t payload) {
  out.push_back('\xFF');
  out.push_back(static_cast<char>(marker));
  put_word(out, payload + 2);
}

void put_table(std::string& out, int kind_and_index, const EncodeTable& table) {
  put_marker(out, 0xC4, 17 + table.symbols.size());
  out.push_back(static_cast<char>(kind_and_index));
  for (std::size_t s = 1; s <= 16; ++s) out.push_back(static_cast<char>(table.lengths[s]));
  for (const std::uint8_t symbol : table.symbols) out.push_back(static_cast<char>(symbol));
}

}  // namespace

// ---- The class

Jpeg Jpeg::read(const std::uint8_t* data, std::size_t size) { return Reader(data, size).run(); }

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

JpegCounts Jpeg::update(const PixelView* before, const PixelView& after) {
  if (after.width != width || after.height != height) fail("the pixels have another size");
  const int h = mcu_h(), v = mcu_v();
  const int mcus_x = ceil_div(width, 8 * h), mcus_y = ceil_div(height, 8 * v);
  Updater updater(*this, before, after, h, v);
  JpegCounts counts;
  for (const JpegComponent& part : components)
    counts.total += static_cast<std::int64_t>(part.stride) * part.rows;
  counts.carried = counts.total;
  for (int y = 0; y < mcus_y; ++y)
    for (int x = 0; x < mcus_x; ++x) counts.carried -= updater.mcu(x, y);
  return counts;
}

std::string Jpeg::write(const std::string& segments) const {
  std::vector<std::vector<std::size_t>> scans(1);
  int in_mcu = 0;
  for (std::size_t c = 0; c < components.size(); ++c) {
    in_mcu += components[c].h * components[c].v;
    scans[0].push_back(c);
  }
  if (in_mcu > 10) {  // T.81, B.2.3: too many blocks for one interleaved scan
    scans.clear();
    for (std::size_t c = 0; c < components.size(); ++c) scans.push_back({c});
  }
  auto dc = std::make_unique<std::array<EncodeTable, 2>>(),
       ac = std::make_unique<std::array<EncodeTable, 2>>();
  Counter counter;
  for (const auto& parts : scans) code_scan(*this, parts, *dc, *ac, counter);
  const std::size_t tables = components.size() > 1 && !rgb ? 2 : 1;
  for (std::size_t t = 0; t < tables; ++t) {
    (*dc)[t].build();
    (*ac)[t].build();
  }

  std::string out("\xFF\xD8", 2);
  out += segments;
  bool wide = false;
  for (std::size_t t = 0; t < 4; ++t) {
    if (std::none_of(components.begin(), components.end(),
                     [t](const auto& part) { return part.table == static_cast<int>(t); }))
      continue;
    const bool wide_table = *std::max_element(quantisation[t].begin(), quantisation[t].end()) > 255;
    wide = wide || wide_table;
    put_marker(out, 0xDB, wide_table ? 129 : 65);
    out.push_back(static_cast<char>((wide_table ? 0x10 : 0) | static_cast<int>(t)));
    for (std::size_t k = 0; k < 64; ++k) {
      if (wide_table) out.push_back(static_cast<char>(quantisation[t][kNatural[k]] >> 8));
      out.push_back(static_cast<char>(quantisation[t][kNatural[k]] & 0xFF));
    }
  }
  put_marker(out, wide ? 0xC1 : 0xC0, 6 + 3 * components.size());
  out.push_back(8);
  put_word(out, static_cast<std::size_t>(height));
  put_word(out, static_cast<std::size_t>(width));
  out.push_back(static_cast<char>(components.size()));
  for (const JpegComponent& part : components) {
    out.push_back(static_cast<char>(part.id));
    out.push_back(static_cast<char>(part.h << 4 | part.v));
    out.push_back(static_cast<char>(part.table));
  }
  for (std::size_t t = 0; t < tables; ++t) {
    put_table(out, static_cast<int>(t), (*dc)[t]);
    put_table(out, 0x10 | static_cast<int>(t), (*ac)[t]);
  }
  for (const auto& parts : scans) {
    put_marker(out, 0xDA, 4 + 2 * parts.size());
    out.push_back(static_cast<char>(parts.size()));
    for (const std::size_t c : parts) {
      out.push_back(static_cast<char>(components[c].id));
      out.push_back(static_cast<char>(c == 0 || rgb ? 0x00 : 0x11));
    }
    out.push_back(0);
    out.push_back(63);
    out.push_back(0);
    BitWriter writer(out);
    code_scan(*this, parts, *dc, *ac, writer);
    writer.finish();
  }
  out.append("\xFF\xD9", 2);
  return out;
}

}  // namespace reknit
