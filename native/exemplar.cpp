#include "exemplar.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "field.hpp"
#include "kernels.hpp"
#include "level.hpp"
#include "onion.hpp"
#include "render.hpp"
#include "threads.hpp"
#include "vote.hpp"

namespace reknit {

namespace {

constexpr int kStripRows = 32;      // a sweep's strip
constexpr int kSharedSites = 6000;  // levels with fewer sites are not worth waking anyone

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
        shared_(settings.threads, [this] { poll(); }),
        alone_(1, [this] { poll(); }) {}

  // Returns the energy.
  double run() {
    std::vector<Level> levels = build_pyramid(picture_, s_, shared_);
    const int count = static_cast<int>(levels.size());
    plan(levels);
    if (s_.seed != 0)
      for (int k = count == 1 ? 0 : 1; k < count; ++k) thin_sources(levels[static_cast<size_t>(k)], s_.seed);
    Field field;
    for (int k = count - 1; k >= 0; --k) {
      Level& level = levels[static_cast<size_t>(k)];
      pool_ = level.sites.count() >= kSharedSites ? &shared_ : &alone_;
      LevelView view = look(level);
      if (k == count - 1) {
        peel(level, view, kernels_, s_.onion_samples);
        field = Field(level.sites.count());
        scatter(level, field, s_.seed);
        weigh_by_depth(level, s_.confidence);
      } else {
        field = refine(levels[static_cast<size_t>(k) + 1], field, level);
        scatter(level, field, s_.seed + static_cast<uint32_t>(k));
        weigh_by_depth(level, s_.confidence);
        vote(level, view, field, true);
        levels.pop_back();
      }
      improve(level, view, field, k, count - 1 - k);
      if (k == 0) finish(level, field);
    }
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
    total_ = 1;
    const int count = static_cast<int>(levels.size());
    for (int k = 0; k < count; ++k) {
      const Level& level = levels[static_cast<size_t>(k)];
      total_ += effort(s_, level, k, count - 1 - k).work(level.sites.count());
    }
    total_ += 1.5 * levels[0].sites.count();
    done_ = 0;
  }

  LevelView look(Level& level) const {
    LevelView v{};
    v.guide = level.guide.data();
    v.flags = level.flags.data();
    v.weight = level.weight.data();
    v.at = level.sites.at.data();
    v.up = level.sites.up.data();
    v.down = level.sites.down.data();
    v.row_begin = level.sites.row_begin.data();
    v.sites = level.sites.count();
    v.width = level.width;
    v.height = level.height;
    v.stride = level.stride;
    v.bank_row = static_cast<int>(s_.bank_row / level.scale);
    const int extent = std::max(level.width, std::min(level.height, v.bank_row));
    const double price = s_.proximity * kSide * kSide * 32 / extent;
    v.proximity_x = static_cast<int>(price * s_.proximity_x * 256);
    v.proximity_y = static_cast<int>(price * 256);
    // Transformed copies cost the same wherever they are, so with them a random probe may go anywhere.
    const bool banked = s_.bank_row < picture_.height;
    v.reach_x = banked || v.proximity_x == 0 ? 1e9f : 256.0f / static_cast<float>(v.proximity_x);
    v.reach_y = banked || v.proximity_y == 0 ? 1e9f : 256.0f / static_cast<float>(v.proximity_y);
    v.bank_price = static_cast<int>(price * extent / 16);
    return v;
  }

  double vote(Level& level, const LevelView& view, Field& field, bool flat) {
    const std::vector<float> share = vote_shares(level, field, s_.vote_decay, s_.sigma, flat);
    std::vector<uint8_t> changed(share.size(), 0);
    std::atomic<int64_t> change{0}, pixels{0};
    pool_->split(0, level.sites.count(), 4096, [&](int first, int last) {
      int64_t n = 0;
      change += kernels_.vote(
          view, {field.offset.data(), share.data(), changed.data(), s_.tolerance, first, last}, n);
      pixels += n;
    });
    if (!flat) stir(level.sites, changed, field);
    return pixels ? static_cast<double>(change) / (3.0 * static_cast<double>(pixels)) : 0;
  }

  void sweep(Level& level, const LevelView& view, Field& field, int pass, int radius, bool rescore,
             uint32_t seed) {
    const int shift = pass % 2 ? kStripRows / 2 : 0;
    const int strips = (level.height + shift + kStripRows - 1) / kStripRows;
    pool_->run(strips, [&](int strip) {
      Sweep job{};
      job.offset = field.offset.data();
      job.cost = field.cost.data();
      job.first_row = std::max(0, strip * kStripRows - shift);
      job.last_row = std::min(level.height, (strip + 1) * kStripRows - shift);
      job.backward = pass % 2;
      job.rescore = rescore;
      job.radius = radius;
      job.disagreement = static_cast<int>(s_.potts * kSide * kSide * 4);
      job.seed = seed;
      job.pass = static_cast<uint32_t>(pass);
      job.stirred = field.stirred.data();
      job.visited = field.visited.data();
      job.moved = field.moved.data();
      kernels_.sweep(view, job);
    });
  }

  void improve(Level& level, const LevelView& view, Field& field, int k, int depth) {
    const Effort e = effort(s_, level, k, depth);
    const double part = e.work(level.sites.count()) / (e.rounds * e.sweeps);
    if (!e.everywhere) stir_seams(level.sites, field);
    int pass = 0;
    for (int round = 0; round < e.rounds; ++round) {
      const int passes = depth == 0 && round == 0 ? e.sweeps * 3 : e.sweeps;
      for (int i = 0; i < passes; ++i) {
        const uint32_t seed =
            s_.seed * 31 + static_cast<uint32_t>(k) * 1009 + static_cast<uint32_t>(round) * 131;
        sweep(level, view, field, ++pass, e.radius, i == 0, seed);
        if (i < e.sweeps) advance(part);
      }
      if (k == 0 && round == e.rounds - 1) return;
      if (vote(level, view, field, false) < s_.settled) {
        advance(part * e.sweeps * (e.rounds - round - 1));
        return;
      }
    }
  }

  void finish(const Level& level, const Field& field) {
    const std::vector<float> share = vote_shares(level, field, s_.vote_decay, s_.sigma, false);
    energy_ = energy(level, field);
    const double before = done_, rest = total_ - done_;
    render(picture_, level, field, share, s_, *pool_, out_, [&](double part) {
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
      if (s.right(i) && field.offset[at + 1] != field.offset[at]) sum += s_.potts * kSide * kSide * 4;
      if (s.down[at] >= 0 && field.offset[static_cast<size_t>(s.down[at])] != field.offset[at])
        sum += s_.potts * kSide * kSide * 4;
    }
    return sum / std::max(1, s.count());
  }

  const Picture& picture_;
  const Settings s_;
  void* out_;
  const std::function<void(double)>& progress_;
  const Kernels& kernels_;
  ThreadPool shared_, alone_;
  ThreadPool* pool_ = &alone_;
  double total_ = 1, done_ = 0, energy_ = 0;
};

}  // namespace

double fill(const Picture& picture, const Settings& settings, void* out,
            const std::function<void(double)>& progress, const std::string& isa) {
  return Filler(picture, settings, out, progress, kernels(isa)).run();
}

}  // namespace reknit
