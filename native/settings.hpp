// Every number that shapes an exemplar fill. The defaults are the "normal" preset.
#pragma once

#include <cstdint>

namespace reknit {

struct Settings {
  uint32_t seed = 0;
  int threads = 1;
  int bank_row = 1 << 30;  // rows from here on hold transformed copies: sources without a distance

  // Pyramid
  double coarse_depth = 4;    // stop when the target is nowhere deeper than this (px)
  double ratio = 1.41421356;  // step between levels whose longer side is at most ratio_limit; 2 above
  int ratio_limit = 300;
  int known_quarters = 1;  // a coarse pixel is known when this many quarters of it are
  int min_sources = 200;   // no level with fewer patches to copy from
  double variety = 0.2;    // this part of the sources is hidden from the coarse levels when seed is not 0
  double texture = 5;      // weight of the texture channel

  // Search
  double ring = 4;           // weight of what 9 × 9 patches have around their inner 5 × 5, which weigh 1
  int shifts = 16;           // so many shifts by which the picture repeats itself are tried; 0: none
  double shift_share = 0.1;  // a picture repeats itself when this part of its detail has one shift
  double shift_bias = 2;     // the first guess follows a shift unless something else is so much better
  int onion_samples = 4000;
  int sweeps = 2, sweeps_fine = 2;  // an iteration; _fine: at full size
  int radius = 1 << 30;             // of the random search at all levels but the coarsest
  double potts = 3;                 // price of a label that differs from a neighbour's
  double potts_busy = 4;            // added to it, as a multiple, where texture is strongest
  double repeats = 8;               // price of copying a place once more than its share
  double foreign = 0.07;            // price of being like nothing near along the hole
  double proximity = 100;           // price of distance
  double proximity_x = 0.2;         // of which this part counts along rows: things repeat along rows
  double confidence = 2.1;          // a target pixel's weight falls by this factor per px from the rim

  // Expectation-maximisation
  double em_coarse = 16,
         em_decay = 1.8;  // iterations at the coarsest level, fewer by em_decay each finer one
  int em_min = 3, em_fine = 2;
  int large = 60000;      // levels of more sites get 2 iterations and near probes only
  int huge = 300000;      // levels of more sites only mend where pieces meet
  int tolerance = 0;      // a pixel that changes by no more does not stir its patches
  double settled = 0.2;   // stop when the mean change is below this (levels of 255)
  double vote_decay = 2;  // a patch's vote falls by this factor per px from the rim
  double sigma = 1;       // width of the vote's fall with the patch's cost, in local mean costs

  // Rendering
  double screen = 0.001;    // pull towards the vote's mean while blending; negative: copy, no blending
  double mend = 200;        // the largest mismatch that blending smooths away (levels of 255)
  int blend_sweeps = 36;    // of successive over-relaxation
  double blend_step = 1.9;  // its factor, 1 to 2
};

// What a site pays for each neighbour with another offset.
inline int disagreement(const Settings& s) { return static_cast<int>(s.potts * 25 * 4); }

}  // namespace reknit
