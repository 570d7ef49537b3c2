// The final picture at full depth: copied, not averaged, then blended so that no seam shows.
#pragma once

#include <functional>
#include <vector>

#include "field.hpp"
#include "level.hpp"
#include "pyramid.hpp"
#include "settings.hpp"
#include "threads.hpp"

namespace reknit {

// Writes the target pixels of `out` (laid out as picture.samples and already a copy of it). `level` is full
// size; `share` as from vote_shares(). done(fraction) is called now and then.
void render(const Picture& picture, const Level& level, const Field& field, const std::vector<float>& share,
            const Settings& settings, ThreadPool& pool, void* out, const std::function<void(double)>& done);

}  // namespace reknit
