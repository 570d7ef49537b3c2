// How 16-bit samples become the 8-bit guide on which patches are compared.
#pragma once

#include <cstdint>
#include <vector>

namespace reknit {

struct Picture;

// A monotone table from the samples' upper 12 bits.
struct ToneCurve {
  std::vector<uint8_t> table;
  uint8_t operator()(uint16_t sample) const { return table[sample >> 4]; }
};

// Stretches what the known pixels use (all but 0.1 % at each end) to the whole range, and lifts dark, e.g.
// linear, pictures by a square root, so that patches of a raw-like photo are told apart as eyes would.
ToneCurve tone_curve(const Picture& picture);

}  // namespace reknit
