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

int iterations(const Settings& s, int level, int depth) {
  if (level == 0) return s.em_fine;
  return std::max(s.em_min, static_cast<int>(s.em_coarse - s.em_decay * depth));
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

  void run() {
    std::vector<Level> levels = build_pyramid(picture_, s_, shared_);
    const int count = static_cast<int>(levels.size());
    plan(levels);
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
  }

 private:
  void poll() { progress_(std::min(0.999, done_ / total_)); }

  void advance(double work) {
    done_ += work;
    poll();
  }

  // Rough cost of every level, for the progress.
  void plan(const std::vector<Level>& levels) {
    total_ = 0;
    const int count = static_cast<int>(levels.size());
    for (int k = 0; k < count; ++k) {
      const double sites = levels[static_cast<size_t>(k)].sites.count();
      total_ +=
          sites * (k == 0 ? s_.em_fine * s_.sweeps_fine + 2 : iterations(s_, k, count - 1 - k) * s_.sweeps);
    }
    total_ = std::max(total_, 1.0);
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
    const double price = s_.proximity * kSide * kSide * 32 / std::max(level.width, level.height);
    v.proximity_x = static_cast<int>(price * s_.proximity_x * 256);
    v.proximity_y = static_cast<int>(price * 256);
    v.bank_row = static_cast<int>(s_.bank_row / level.scale);
    v.bank_price = static_cast<int>(price * std::max(level.width, level.height) / 8);
    return v;
  }

  double vote(Level& level, const LevelView& view, const Field& field, bool flat) {
    const std::vector<float> share = vote_shares(level, field, s_.vote_decay, s_.sigma, flat);
    std::atomic<int64_t> change{0}, pixels{0};
    pool_->split(0, level.sites.count(), 4096, [&](int first, int last) {
      int64_t n = 0;
      change += kernels_.vote(view, {field.offset.data(), share.data(), first, last}, n);
      pixels += n;
    });
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
      kernels_.sweep(view, job);
    });
  }

  void improve(Level& level, const LevelView& view, Field& field, int k, int depth) {
    const int rounds = iterations(s_, k, depth);
    const int sweeps = k == 0 ? s_.sweeps_fine : s_.sweeps;
    int radius = std::max(level.width, level.height);
    if (k == 0 && depth > 0) radius = std::min(radius, s_.radius_fine);
    const double sites = level.sites.count();
    int pass = 0;
    for (int e = 0; e < rounds; ++e) {
      const int passes = depth == 0 && e == 0 ? sweeps * 3 : sweeps;
      for (int i = 0; i < passes; ++i) {
        const uint32_t seed = s_.seed * 31 + static_cast<uint32_t>(k) * 1009 + static_cast<uint32_t>(e) * 131;
        sweep(level, view, field, pass++, radius, i == 0, seed);
        if (i < sweeps) advance(sites);
      }
      if (k == 0 && e == rounds - 1) return;
      if (vote(level, view, field, false) < s_.settled) {
        advance(sites * sweeps * (rounds - e - 1));
        return;
      }
    }
  }

  void finish(const Level& level, const Field& field) {
    const std::vector<float> share = vote_shares(level, field, s_.vote_decay, s_.sigma, false);
    const double before = done_, rest = total_ - done_;
    render(picture_, level, field, share, s_, *pool_, out_, [&](double part) {
      done_ = before + rest * part;
      poll();
    });
  }

  const Picture& picture_;
  const Settings s_;
  void* out_;
  const std::function<void(double)>& progress_;
  const Kernels& kernels_;
  ThreadPool shared_, alone_;
  ThreadPool* pool_ = &alone_;
  double total_ = 1, done_ = 0;
};

}  // namespace

void fill(const Picture& picture, const Settings& settings, void* out,
          const std::function<void(double)>& progress, const std::string& isa) {
  Filler(picture, settings, out, progress, kernels(isa)).run();
}

}  // namespace reknit
