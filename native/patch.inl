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

#endif
