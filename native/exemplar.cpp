#include "exemplar.hpp"

#include <algorithm>
#include <vector>

#include "field.hpp"
#include "foreign.hpp"
#include "kernels.hpp"
#include "level.hpp"
#include "onion.hpp"
#include "render.hpp"
#include "search.hpp"
#include "shifts.hpp"
#include "threads.hpp"
#include "vote.hpp"
#include "wear.hpp"

namespace reknit {

namespace {

constexpr size_t kSmallPixels = 1 << 20;  // of a level of which every pixel may be looked at and noted
constexpr int kForeignLevels = 4;         // so many of the coarsest, which decide what goes where

// How hard a level is worked on.
struct Effort {
  int rounds;       // of search and vote
  int sweeps;       // a round
  int radius;       // of the first random probe
  bool everywhere;  // or only where pieces meet
  double work(int sites) const {
    return static_cast<double>(sites) * rounds * sweeps * (everywhere ? 1 : 0.3);
  }
};

Effort effort(const Settings& s, const Level& level, int k, int depth) {
  const int n = level.sites.count(), reach = std::max(level.width, level.height);
  // A level that is both the coarsest and large holds thin or scattered holes: easy ones.
  if (depth == 0 && n > s.large) return {3, s.sweeps, std::min(64, s.radius), true};
  if (depth == 0) return {static_cast<int>(s.em_coarse), s.sweeps, reach, true};
  if (n > s.huge) return {1, s.sweeps_fine, 2, false};
  if (n > s.large) return {2, s.sweeps_fine, std::min(16, s.radius), true};
  if (k == 0) return {s.em_fine, s.sweeps_fine, std::min(reach, s.radius), true};
  return {std::max(s.em_min, static_cast<int>(s.em_coarse - s.em_decay * depth)), s.sweeps,
          std::min(reach, s.radius), true};
}

class Filler {
 public:
  Filler(const Picture& picture, const Settings& settings, void* out,
         const std::function<void(double)>& progress, const Kernels& kernels)
      : picture_(picture),
        s_(settings),
        out_(out),
        progress_(progress),
        kernels_(kernels),
        pool_(settings.threads, [this] { poll(); }) {}

  // Returns the energy.
  double run() {
    std::vector<Level> levels = build_pyramid(picture_, s_, pool_);
    const int count = static_cast<int>(levels.size());
    plan(levels);
    // What is extended rather than filled has near sources on one side only, and would repeat them.
    const double open = openness(levels[0]);
    s_.proximity *= std::max(0.2, 1 - 1.2 * open);
    s_.repeats *= 1 + 1.5 * open;
    if (s_.seed != 0)
      for (int k = count == 1 ? 0 : 1; k < count; ++k)
        thin_sources(levels[static_cast<size_t>(k)], s_.variety, s_.seed);
    shifts_ = find_shifts(levels, s_, kernels_);
    // What a picture repeats may well be missing along the hole.
    if (count > 1 && shifts_[0].empty() && s_.foreign > 0) {
      const Rim rim(levels.back());
      for (int k = count - 1; k >= std::max(1, count - kForeignLevels); --k)
        if (Level& level = levels[static_cast<size_t>(k)]; level.flags.size() <= kSmallPixels)
          rim.measure(level);
    }
    Field field;
    for (int k = count - 1; k >= 0; --k) {
      Level& level = levels[static_cast<size_t>(k)];
      const LevelView view = look(level, s_);
      if (k == count - 1) {
        // A single level has but a small hole, and small holes are many.
        const int samples = count == 1 ? s_.onion_samples / 3 : s_.onion_samples;
        peel(level, view, kernels_, samples, shifts_[static_cast<size_t>(k)], s_.shift_bias, s_.seed, pool_);
        field = Field(level.sites.count());
        scatter(level, field, s_.seed);
        weigh_by_depth(level, s_.confidence);
      } else {
        field = refine(levels.back(), field, level, shifts_[static_cast<size_t>(k) + 1],
                       shifts_[static_cast<size_t>(k)], pool_);
        scatter(level, field, s_.seed + static_cast<uint32_t>(k));
        weigh_by_depth(level, s_.confidence);
        vote(level, view, field, true, s_, kernels_, pool_);
        levels.pop_back();
      }
      improve(level, view, field, k, count - 1 - k);
    }
    finish(levels[0], field);
    return energy_;
  }

 private:
  void poll() { progress_(std::min(0.999, done_ / total_)); }

  void advance(double work) {
    done_ += work;
    poll();
  }

  // Rough cost of every level, for the progress.
  void plan(const std::vector<Level>& levels) {
    total_ = 1 + 1.5 * levels[0].sites.count();
    const int count = static_cast<int>(levels.size());
    for (int k = 0; k < count; ++k) {
      const Level& level = levels[static_cast<size_t>(k)];
      total_ += effort(s_, level, k, count - 1 - k).work(level.sites.count());
    }
    done_ = 0;
  }

  void improve(Level& level, LevelView view, Field& field, int k, int depth) {
    const Effort e = effort(s_, level, k, depth);
    const double part = e.work(level.sites.count()) / (e.rounds * e.sweeps);
    if (!e.everywhere) stir_seams(level.sites, field);
    int pass = 0;
    for (int round = 0; round < e.rounds; ++round) {
      const int passes = depth == 0 && round == 0 ? e.sweeps * 3 : e.sweeps;
      for (int i = 0; i < passes; ++i) {
        const uint32_t seed =
            s_.seed * 31 + static_cast<uint32_t>(k) * 1009 + static_cast<uint32_t>(round) * 131;
        sweep(view, field, {++pass, e.radius, i == 0, seed, &shifts_[static_cast<size_t>(k)]}, s_, kernels_,
              pool_);
        if (i < e.sweeps) advance(part);
      }
      if (k == 0 && round == e.rounds - 1) return;
      if (vote(level, view, field, false, s_, kernels_, pool_) < s_.settled) {
        advance(part * e.sweeps * (e.rounds - round - 1));
        return;
      }
      if (s_.repeats > 0 && level.sites.count() <= s_.large && level.flags.size() <= kSmallPixels) {
        update_wear(level, field, pool_);
        view = look(level, s_);
      }
    }
  }

  void finish(const Level& level, const Field& field) {
    const std::vector<float> share = vote_shares(level, field, s_.vote_decay, s_.sigma, false, pool_);
    energy_ = energy(level, field);
    const double before = done_, rest = total_ - done_;
    render(picture_, level, field, share, s_, pool_, out_, [&](double part) {
      done_ = before + rest * part;
      poll();
    });
  }

  double energy(const Level& level, const Field& field) const {
    const Sites& s = level.sites;
    double sum = 0;
    for (int i = 0; i < s.count(); ++i) {
      const size_t at = static_cast<size_t>(i);
      if (field.offset[at] == kNowhere) continue;
      sum += field.cost[at];
      if (s.right(i) && field.offset[at + 1] != field.offset[at]) sum += disagreement(s_);
      if (s.down[at] >= 0 && field.offset[static_cast<size_t>(s.down[at])] != field.offset[at])
        sum += disagreement(s_);
    }
    return sum / std::max(1, s.count());
  }

  const Picture& picture_;
  Settings s_;
  void* out_;
  const std::function<void(double)>& progress_;
  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<std::vector<int32_t>> shifts_;  // of each level
  double total_ = 1, done_ = 0, energy_ = 0;
};

}  // namespace

double fill(const Picture& picture, const Settings& settings, void* out,
            const std::function<void(double)>& progress, const std::string& isa) {
  return Filler(picture, settings, out, progress, kernels(isa)).run();
}

}  // namespace reknit
