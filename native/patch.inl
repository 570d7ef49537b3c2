// The weighted squared distance of two patches, in the form that suits the instruction set this file is
// compiled for. A TargetPatch holds one side and its weights; cost() takes the other side. All forms give the
// same integer:
//   sum over 5 × 5 pixels and 4 channels of weight · (a − b)², divided by kKnownWeight.
#if defined(__AVX2__)

class TargetPatch {
 public:
  TargetPatch(const uint8_t* guide, const uint8_t* weight, int stride)
      : row_(static_cast<size_t>(stride) * 4) {
    const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int r = 0; r < 5; ++r) {
      a_[r] = widen(load(guide + row_ * r));
      w_[r] =
          widen(_mm_shuffle_epi8(_mm_cvtsi32_si128(word(weight + static_cast<size_t>(stride) * r)), spread));
    }
    a_[5] = widen(last_column(guide));
    const uint8_t* w = weight + 4;
    const size_t s = static_cast<size_t>(stride);
    const uint8_t tail[4] = {w[0], w[s], w[2 * s], w[3 * s]};
    w_[5] = widen(_mm_shuffle_epi8(_mm_cvtsi32_si128(word(tail)), spread));
    a6_ = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(word(guide + row_ * 4 + 16)));
    w6_ = _mm_set1_epi16(w[4 * s]);
  }

  int cost(const uint8_t* b) const {
    const __m128i d6 = _mm_sub_epi16(a6_, _mm_cvtepu8_epi16(_mm_cvtsi32_si128(word(b + row_ * 4 + 16))));
    __m256i sum = _mm256_zextsi128_si256(_mm_madd_epi16(d6, _mm_mullo_epi16(d6, w6_)));
    for (int r = 0; r < 5; ++r) sum = _mm256_add_epi32(sum, term(a_[r], w_[r], load(b + row_ * r)));
    sum = _mm256_add_epi32(sum, term(a_[5], w_[5], last_column(b)));
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half) >> 6;
  }

 private:
  static int word(const uint8_t* p) {
    int v;
    memcpy(&v, p, 4);
    return v;
  }
  static __m128i load(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static __m256i widen(__m128i v) { return _mm256_cvtepu8_epi16(v); }
  static __m256i term(__m256i a, __m256i w, __m128i b) {
    const __m256i d = _mm256_sub_epi16(a, widen(b));
    return _mm256_madd_epi16(d, _mm256_mullo_epi16(d, w));
  }
  __m128i last_column(const uint8_t* p) const {
    p += 16;
    __m128i v = _mm_cvtsi32_si128(word(p));
    v = _mm_insert_epi32(v, word(p + row_), 1);
    v = _mm_insert_epi32(v, word(p + row_ * 2), 2);
    return _mm_insert_epi32(v, word(p + row_ * 3), 3);
  }

  size_t row_;
  __m256i a_[6], w_[6];
  __m128i a6_, w6_;
};

// What a patch of 9 × 9 pixels has around the inner 5 × 5, likewise. A cost that is known to be `enough`
// after the first part need not be finished: all forms stop at the same place.
class TargetRing {
 public:
  void aim(const uint8_t* guide, const uint8_t* weight, int stride) {
    row_ = static_cast<size_t>(stride) * 4;
    const size_t s = static_cast<size_t>(stride);
    const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (size_t r = 0; r < 5; ++r) a_[r] = _mm256_cvtepu8_epi16(sides(guide, r));
    for (size_t r = 0; r < 4; ++r) {
      const uint8_t* p = guide + row_ * (r < 2 ? r : r + 5);
      a_[5 + 2 * r] = _mm256_cvtepu8_epi16(load(p));
      a_[6 + 2 * r] = _mm256_cvtepu8_epi16(load(p + 16));
    }
    a_[13] = _mm256_cvtepu8_epi16(ends(guide));
    const __m128i later = _mm_setr_epi8(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    const uint8_t* outer[4] = {weight, weight + s, weight + 7 * s, weight + 8 * s};
    for (int r = 0; r < 4; ++r) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(outer[r]));
      w_[5 + 2 * r] = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(eight, spread));
      w_[6 + 2 * r] = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(eight, later));
    }
    const auto four = [&](int a, int b, int c, int d) {
      return _mm256_cvtepu8_epi16(
          _mm_shuffle_epi8(_mm_cvtsi32_si128(a | b << 8 | c << 16 | d << 24), spread));
    };
    w_[13] = four(outer[0][8], outer[1][8], outer[2][8], outer[3][8]);
    for (size_t r = 0; r < 5; ++r) {
      const uint8_t* w = weight + (r + 2) * s;
      w_[r] = four(w[0], w[1], w[7], w[8]);
    }
  }

  int cost(const uint8_t* b, int enough) const {
    __m256i sum = _mm256_setzero_si256();
    for (size_t r = 0; r < 5; ++r) sum = _mm256_add_epi32(sum, term(r, sides(b, r)));
    const int part = total(sum);
    if (part >= enough) return part;
    for (size_t r = 0; r < 4; ++r) {
      const uint8_t* p = b + row_ * (r < 2 ? r : r + 5);
      sum = _mm256_add_epi32(sum, term(5 + 2 * r, load(p)));
      sum = _mm256_add_epi32(sum, term(6 + 2 * r, load(p + 16)));
    }
    return total(_mm256_add_epi32(sum, term(13, ends(b))));
  }

 private:
  static constexpr int kLines =
      14;  // five for the sides of the inner rows, two an outer row, one for their ends
  static __m128i load(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  __m128i sides(const uint8_t* p, size_t r) const {
    p += (r + 2) * row_;
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 28)));
  }
  __m128i ends(const uint8_t* p) const {
    int four[4];
    for (size_t r = 0; r < 4; ++r) memcpy(&four[r], p + row_ * (r < 2 ? r : r + 5) + 32, 4);
    return _mm_setr_epi32(four[0], four[1], four[2], four[3]);
  }
  __m256i term(size_t k, __m128i b) const {
    const __m256i d = _mm256_sub_epi16(a_[k], _mm256_cvtepu8_epi16(b));
    return _mm256_madd_epi16(d, _mm256_mullo_epi16(d, w_[k]));
  }
  static int total(__m256i sum) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half) >> 6;
  }

  size_t row_ = 0;
  __m256i a_[kLines], w_[kLines];
};

#else

// Left to the compiler's vectoriser: 100 bytes gathered into one line.
class TargetPatch {
 public:
  TargetPatch(const uint8_t* guide, const uint8_t* weight, int stride)
      : row_(static_cast<size_t>(stride) * 4) {
    uint8_t line[kLine] = {};
    gather(guide, line);
    for (int i = 0; i < kLine; ++i) a_[i] = line[i];
    for (int r = 0; r < 5; ++r)
      for (int i = 0; i < 20; ++i) w_[r * 20 + i] = weight[static_cast<size_t>(stride) * r + i / 4];
  }

  int cost(const uint8_t* b) const {
    uint8_t line[kLine];
    gather(b, line);
    int sum = 0;
    for (int i = 0; i < kLine; ++i) {
      const int16_t d = static_cast<int16_t>(a_[i] - line[i]);
      const int16_t e = static_cast<int16_t>(d * w_[i]);
      sum += static_cast<int>(d) * static_cast<int>(e);
    }
    return sum >> 6;
  }

 private:
  static constexpr int kLine = 112;  // a multiple of 16; weights past 100 are 0
  void gather(const uint8_t* p, uint8_t* line) const {
    for (int r = 0; r < 5; ++r)
      for (int i = 0; i < 20; ++i) line[r * 20 + i] = p[row_ * r + i];
    for (int i = 100; i < kLine; ++i) line[i] = 0;
  }

  size_t row_;
  int16_t a_[kLine] = {}, w_[kLine] = {};
};

class TargetRing {
 public:
  void aim(const uint8_t* guide, const uint8_t* weight, int stride) {
    row_ = static_cast<size_t>(stride) * 4;
    uint8_t line[kLine];
    gather(guide, line);
    for (int i = 0; i < kLine; ++i) a_[i] = line[i];
    int n = 0;
    const auto weigh = [&](int y, int first, int last) {
      for (int x = first; x < last; ++x)
        for (int c = 0; c < 4; ++c) w_[n++] = weight[static_cast<size_t>(stride) * y + x];
    };
    for (int y = 2; y < 7; ++y) {
      weigh(y, 0, 2);
      weigh(y, 7, 9);
    }
    for (int y : {0, 1, 7, 8}) weigh(y, 0, 9);
  }

  int cost(const uint8_t* b, int enough) const {
    uint8_t line[kLine];
    gather(b, line);
    int sum = 0;
    for (int i = 0; i < kSides; ++i) sum += term(i, line[i]);
    if (sum >> 6 >= enough) return sum >> 6;
    for (int i = kSides; i < kLine; ++i) sum += term(i, line[i]);
    return sum >> 6;
  }

 private:
  static constexpr int kLine = 224;  // 56 pixels of 4 channels
  static constexpr int kSides = 80;  // of them beside the inner rows
  int term(int i, uint8_t b) const {
    const int16_t d = static_cast<int16_t>(a_[i] - b);
    const int16_t e = static_cast<int16_t>(d * w_[i]);
    return static_cast<int>(d) * static_cast<int>(e);
  }
  void gather(const uint8_t* p, uint8_t* line) const {
    for (int y = 2; y < 7; ++y) {
      for (int i = 0; i < 8; ++i) *line++ = p[row_ * y + i];
      for (int i = 28; i < 36; ++i) *line++ = p[row_ * y + i];
    }
    for (int y : {0, 1, 7, 8})
      for (int i = 0; i < 36; ++i) *line++ = p[row_ * y + i];
  }

  size_t row_ = 0;
  int16_t a_[kLine] = {}, w_[kLine] = {};
};

#endif
