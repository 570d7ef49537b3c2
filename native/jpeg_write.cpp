// Writing: sequential scans with Huffman tables made for them.
#include <algorithm>
#include <memory>

#include "jpeg_parts.hpp"

namespace reknit {
namespace {

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
