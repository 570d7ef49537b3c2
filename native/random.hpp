// Random numbers that depend on nothing but their keys, so that no thread's pace can change a result.
//
// Functions here and in field.hpp are static: the kernels compile them for several instruction sets, and the
// linker must not merge those.
#pragma once

#include <cstdint>

namespace reknit {

static inline uint32_t mix(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t h = a * 0x9E3779B1u ^ (b * 0x85EBCA77u + 0x7F4A7C15u) ^ (c * 0xC2B2AE3Du);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  return h ^ (h >> 15);
}

static inline uint32_t random_state(uint32_t a, uint32_t b, uint32_t c) { return mix(a, b, c) | 1u; }

// A whole number in [low, high], both included (xorshift32: Marsaglia, J. Stat. Softw. 2003,
// doi 10.18637/jss.v008.i14).
static inline int draw(uint32_t& state, int low, int high) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return low + static_cast<int>((static_cast<uint64_t>(state) * static_cast<uint64_t>(high - low + 1)) >> 32);
}

}  // namespace reknit
