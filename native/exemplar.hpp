// Fills a picture's target with pieces of its surroundings: multi-scale patch synthesis by
// expectation-maximisation (Wexler, Shechtman, Irani, PAMI 2007, doi 10.1109/TPAMI.2007.60) over a
// nearest-neighbour field found by PatchMatch.
#pragma once

#include <functional>
#include <string>

#include "pyramid.hpp"
#include "settings.hpp"

namespace reknit {

// Writes the target pixels of `out`, which is laid out as picture.samples and already a copy of it. Returns
// the fill's energy: the mean cost of its patches and of their disagreements. Of fills of one picture, lower
// is better. Any seed but 0 hides some of the sources from the coarse levels, so that it makes something else
// of the picture.
//
// progress(fraction) is called by the calling thread, often; whatever it throws ends the work at once. The
// same settings give the same bytes whatever settings.threads and the kernels are. `isa` names the kernels,
// "" for the fastest.
double fill(const Picture& picture, const Settings& settings, void* out,
            const std::function<void(double)>& progress, const std::string& isa = "");

}  // namespace reknit
