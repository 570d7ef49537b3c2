// What the files behind jpeg.hpp share.
#pragma once

#include "jpeg.hpp"

namespace reknit {

// Position in natural order of the k-th coefficient in zigzag order; 16 more for runs that overshoot.
inline constexpr std::uint8_t kNatural[64 + 16] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33,
    40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36,
    29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

[[noreturn]] inline void fail(const char* why) { throw JpegError(why); }

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Sets the block grids of all components from the picture's size; takes no memory.
void size_up(Jpeg& jpeg, std::size_t* total_blocks);

// Takes memory for the coefficients and clears them.
void take_memory(Jpeg& jpeg);

}  // namespace reknit
