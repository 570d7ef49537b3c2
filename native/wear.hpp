// Where a fill copies the same place again and again, which eyes notice as tiles.
#pragma once

#include "field.hpp"
#include "level.hpp"

namespace reknit {

// Updates level.wear: for each source, how many copies beyond its share the field makes of it, in 1/16,
// averaged with what it was. Its share is one copy, or more where the target is larger than the sources.
// Stirs the sites that show worn sources, so that the next sweep looks for others.
void update_wear(Level& level, Field& field, ThreadPool& pool);

}  // namespace reknit
