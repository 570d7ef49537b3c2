// Searching one level for better patches.
#pragma once

#include "field.hpp"
#include "kernels.hpp"
#include "level.hpp"
#include "settings.hpp"
#include "threads.hpp"

namespace reknit {

// The level as the kernels see it, with the prices of distance that belong to its size.
LevelView look(Level& level, const Settings& settings);

struct Pass {
  int number = 1;       // counted from 1 within a level; odd ones run forward, even ones backward
  int radius = 0;       // of the first random probe
  bool rescore = true;  // the guide changed since the pass before
  uint32_t seed = 0;
  const std::vector<int32_t>* shifts = nullptr;  // offsets worth trying anywhere
};

// One sweep over all sites, in strips of rows that threads may share.
void sweep(const LevelView& view, Field& field, const Pass& pass, const Settings& settings,
           const Kernels& kernels, ThreadPool& pool);

}  // namespace reknit
