// How much each patch has to say about the pixels it covers.
#pragma once

#include <vector>

#include "field.hpp"
#include "level.hpp"

namespace reknit {

// A patch's share falls by `decay` per px of depth and, unless `flat`, with exp(−cost / (2 · sigma · local
// mean cost)), the mean being taken over 5 × 5 sites.
std::vector<float> vote_shares(const Level& level, const Field& field, double decay, double sigma, bool flat);

}  // namespace reknit
