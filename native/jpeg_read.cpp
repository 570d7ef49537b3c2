// Reading: segments, Huffman tables, and the scans of sequential and progressive files.
#include <algorithm>
#include <cstring>

#include "jpeg_bits.hpp"
#include "jpeg_parts.hpp"

namespace reknit {
namespace {

constexpr int kMaxScans = 200;

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

}  // namespace

Jpeg Jpeg::read(const std::uint8_t* data, std::size_t size) { return Reader(data, size).run(); }

}  // namespace reknit
