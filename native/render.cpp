#include "render.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "cells.hpp"

namespace reknit {

namespace {

constexpr int kGrain = 4096;             // sites of a tile
constexpr int kSweepGrain = 4096;        // of one of the many short sweeps
constexpr double kRelaxSeconds = 10e-9;  // of one site in one of them, about
constexpr int kCellSweeps = 60;
constexpr int kDx[4] = {-1, 1, 0, 0}, kDy[4] = {0, 0, -1, 1};  // to a site's neighbours

template <class Sample>
class Renderer {
 public:
  Renderer(const Picture& picture, const Level& level, const Field& field, const std::vector<float>& share,
           const Settings& settings, ThreadPool& pool)
      : p_(picture),
        level_(level),
        field_(field),
        share_(share),
        settings_(settings),
        pool_(pool),
        samples_(static_cast<const Sample*>(picture.samples)),
        n_(level.sites.count()) {}

  void run(Sample* out, const std::function<void(double)>& done) {
    const size_t n = static_cast<size_t>(n_);
    label_.assign(n, kNowhere);
    place_.resize(n);
    shown_.resize(n);
    pull_.resize(n);
    pool_.split(0, n_, kGrain, [&](int a, int b) { choose(a, b); });
    fill_gaps();
    done(0.4);
    if (settings_.screen >= 0) blend(done);
    pool_.split(0, n_, kGrain, [&](int a, int b) { write(a, b, out); });
  }

 private:
  bool target(int i) const {
    return level_.flags[static_cast<size_t>(level_.sites.at[static_cast<size_t>(i)])] & kTarget;
  }
  bool present(int i) const {
    return !(level_.flags[static_cast<size_t>(level_.sites.at[static_cast<size_t>(i)])] & kVoid);
  }

  // The picture's pixel under a site, and the one that an offset leads to.
  ptrdiff_t place(int i) const { return place_[static_cast<size_t>(i)]; }
  int column(int i) const { return static_cast<int>(place(i) % p_.width); }
  int row(int i) const { return static_cast<int>(place(i) / p_.width); }
  ptrdiff_t step(int32_t offset) const {
    return static_cast<ptrdiff_t>(offset_y(offset)) * p_.width + offset_x(offset);
  }
  Colour read(ptrdiff_t at) const {
    const Sample* s = samples_ + at * p_.channels;
    return {static_cast<float>(s[0]), static_cast<float>(s[1]), static_cast<float>(s[2]),
            p_.channels == 4 ? static_cast<float>(s[3]) : 0.0f};
  }

  // Gives each target site the offset that most of its overlapping patches agree on, and the vote's mean.
  void choose(int first, int last) {
    for (int i = first; i < last; ++i) {
      const int at = level_.sites.at[static_cast<size_t>(i)];
      const int y = level_.row(at), x = level_.column(at);
      const ptrdiff_t here = static_cast<ptrdiff_t>(y) * p_.width + x;
      place_[static_cast<size_t>(i)] = here;
      if (!target(i)) {
        if (present(i)) shown_[static_cast<size_t>(i)] = read(here);
        continue;
      }
      elect(i, here);
    }
  }

  // Calls visit(j) for every site of the patch around site i.
  template <class Visit>
  void patch_of(int i, const Visit& visit) const {
    const Sites& s = level_.sites;
    int left = 0, right = 0;
    while (left < kRadius && s.left(i - left)) ++left;
    while (right < kRadius && s.right(i + right)) ++right;
    int rows[kSide] = {-1, s.up[static_cast<size_t>(i)], i, s.down[static_cast<size_t>(i)], -1};
    if (rows[1] >= 0) rows[0] = s.up[static_cast<size_t>(rows[1])];
    if (rows[3] >= 0) rows[4] = s.down[static_cast<size_t>(rows[3])];
    for (int row : rows)
      for (int j = row - left; row >= 0 && j <= row + right; ++j) visit(j);
  }

  void elect(int i, ptrdiff_t here) {
    const size_t to = static_cast<size_t>(i);
    const int32_t own = field_.offset[to];
    bool same = own != kNowhere;
    patch_of(i, [&](int j) { same &= field_.offset[static_cast<size_t>(j)] == own; });
    if (same) {
      label_[to] = own;
      shown_[to] = pull_[to] = read(here + step(own));
      return;
    }
    int32_t offsets[kSide * kSide];
    float votes[kSide * kSide];
    int n = 0;
    float total = 0;
    patch_of(i, [&](int j) {
      const int32_t o = field_.offset[static_cast<size_t>(j)];
      if (o == kNowhere) return;
      int k = 0;
      while (k < n && offsets[k] != o) ++k;
      if (k == n) {
        offsets[n] = o;
        votes[n++] = 0;
      }
      votes[k] += share_[static_cast<size_t>(j)];
      total += share_[static_cast<size_t>(j)];
    });
    if (n == 0) return;
    int winner = 0;
    Colour mean{};
    for (int k = 0; k < n; ++k) {
      if (votes[k] > votes[winner]) winner = k;
      const Colour c = read(here + step(offsets[k]));
      for (size_t q = 0; q < 4; ++q) mean[q] += votes[k] * c[q];
    }
    label_[to] = offsets[winner];
    shown_[to] = read(here + step(offsets[winner]));
    const float scale = total > 0 ? 1 / total : 0;
    for (size_t q = 0; q < 4; ++q) pull_[to][q] = total > 0 ? mean[q] * scale : shown_[to][q];
  }

  // Target pixels that nothing was found for take the mean of their neighbours, from the rim inwards.
  void fill_gaps() {
    std::vector<int> gaps;
    for (int i = 0; i < n_; ++i)
      if (target(i) && label_[static_cast<size_t>(i)] == kNowhere) gaps.push_back(i);
    if (gaps.empty()) return;
    std::stable_sort(gaps.begin(), gaps.end(), [&](int a, int b) {
      return level_.sites.depth[static_cast<size_t>(a)] < level_.sites.depth[static_cast<size_t>(b)];
    });
    const Colour all = mean_known();
    std::vector<uint8_t> ready(static_cast<size_t>(n_), 1);
    for (int i : gaps) ready[static_cast<size_t>(i)] = 0;
    const Sites& s = level_.sites;
    for (int i : gaps) {
      Colour sum{};
      float count = 0;
      auto add = [&](int j) {
        if (j < 0 || !ready[static_cast<size_t>(j)] || !present(j)) return;
        for (size_t q = 0; q < 4; ++q) sum[q] += shown_[static_cast<size_t>(j)][q];
        ++count;
      };
      auto add_row = [&](int j) {
        if (j < 0) return;
        add(j);
        if (s.left(j)) add(j - 1);
        if (s.right(j)) add(j + 1);
      };
      add_row(s.up[static_cast<size_t>(i)]);
      add_row(i);
      add_row(s.down[static_cast<size_t>(i)]);
      Colour& to = shown_[static_cast<size_t>(i)];
      for (size_t q = 0; q < 4; ++q) to[q] = count > 0 ? sum[q] / count : all[q];
      pull_[static_cast<size_t>(i)] = to;
      ready[static_cast<size_t>(i)] = 1;
    }
  }

  Colour mean_known() const {
    std::array<double, 4> sum{};
    double count = 0;
    const ptrdiff_t pixels = static_cast<ptrdiff_t>(p_.width) * p_.height;
    for (ptrdiff_t at = 0; at < pixels; ++at) {
      if (p_.hole[at]) continue;
      const Colour c = read(at);
      for (size_t q = 0; q < 4; ++q) sum[q] += static_cast<double>(c[q]);
      ++count;
    }
    Colour mean{};
    for (size_t q = 0; q < 4 && count > 0; ++q) mean[q] = static_cast<float>(sum[q] / count);
    return mean;
  }

  // The step from the source pixel of site i in one direction, if that leads to a known pixel.
  bool gradient(int i, int dx, int dy, Colour& g) const {
    const int32_t label = label_[static_cast<size_t>(i)];
    if (label == kNowhere) return false;
    const ptrdiff_t from = level_.sites.at[static_cast<size_t>(i)] +
                           static_cast<ptrdiff_t>(offset_y(label)) * level_.stride + offset_x(label);
    const ptrdiff_t to = from + static_cast<ptrdiff_t>(dy) * level_.stride + dx;
    if (level_.flags[static_cast<size_t>(to)] & kUnknown) return false;
    const ptrdiff_t source = place(i) + step(label);
    const Colour a = read(source), b = read(source + static_cast<ptrdiff_t>(dy) * p_.width + dx);
    for (size_t q = 0; q < 4; ++q) g[q] = b[q] - a[q];
    return true;
  }

  // What the step from site i to its neighbour j should be: the larger of what their labels show there. A
  // jump that is far from both is taken for an edge of the scene, and mended only a little.
  Colour wanted(int i, int j, int dx, int dy) const {
    const Colour &from = shown_[static_cast<size_t>(i)], &to = shown_[static_cast<size_t>(j)];
    const int32_t a = label_[static_cast<size_t>(i)], b = label_[static_cast<size_t>(j)];
    Colour jump{}, ga{}, gb{};
    for (size_t q = 0; q < 4; ++q) jump[q] = to[q] - from[q];
    if (a == b && a != kNowhere) return jump;
    const bool has_a = gradient(i, dx, dy, ga), has_b = gradient(j, -dx, -dy, gb);
    if (!has_a && !has_b) return {};  // no label on either side: flat
    if (has_b)
      for (float& v : gb) v = -v;
    const Colour& g = !has_b || (has_a && size(ga) >= size(gb)) ? ga : gb;
    Colour off{};
    for (size_t q = 0; q < 4; ++q) off[q] = jump[q] - g[q];
    const float most = static_cast<float>(settings_.mend) * (sizeof(Sample) == 1 ? 1.0f : 257.0f);
    const float far = std::sqrt(size(off));
    if (far <= most) return g;
    for (size_t q = 0; q < 4; ++q) jump[q] -= off[q] * (most / far);
    return jump;
  }

  static float size(const Colour& g) { return g[0] * g[0] + g[1] * g[1] + g[2] * g[2]; }

  // Neighbours of a site that take part in blending: left, right, up, down; -1 for none.
  std::array<int, 4> around(int i) const {
    const Sites& s = level_.sites;
    std::array<int, 4> n = {s.left(i) ? i - 1 : -1, s.right(i) ? i + 1 : -1, s.up[static_cast<size_t>(i)],
                            s.down[static_cast<size_t>(i)]};
    for (int& j : n)
      if (j >= 0 && !present(j)) j = -1;
    return n;
  }

  // Screened Poisson equation (Bhat et al. 2008): gradients as wanted, colours pulled to the vote's mean.
  // A seam fades over 1 / √screen px, in large holes over an eighth of their size at least. Solved on ever
  // smaller cells, then by red-black successive over-relaxation.
  void blend(const std::function<void(double)>& done) {
    const float screen = static_cast<float>(std::min(settings_.screen, 64.0 / n_));
    for (const int cell_px : {32, 8}) level_cells(cell_px, screen);
    pool_.split(0, n_, kGrain, [&](int first, int last) {
      for (int i = first; i < last; ++i) {
        if (!target(i)) continue;
        Colour& rhs = pull_[static_cast<size_t>(i)];
        for (float& v : rhs) v *= screen;
        const std::array<int, 4> n = around(i);
        for (size_t k = 0; k < 4; ++k) {
          if (n[k] < 0) continue;
          const Colour g = wanted(i, n[k], kDx[k], kDy[k]);
          for (size_t q = 0; q < 4; ++q) rhs[q] -= g[q];
        }
      }
    });
    pool_.split(0, lift_.empty() ? 0 : n_, kGrain, [&](int first, int last) {
      for (size_t i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i)
        for (size_t q = 0; q < 4; ++q) shown_[i][q] += lift_[i][q];
    });
    pool_.poll();
    std::vector<int> by_colour[2];
    mask_.resize(static_cast<size_t>(n_));
    for (int i = 0; i < n_; ++i) {
      if (!target(i)) continue;
      const std::array<int, 4> n = around(i);
      for (size_t k = 0; k < 4; ++k) mask_[static_cast<size_t>(i)] |= static_cast<uint8_t>((n[k] >= 0) << k);
      by_colour[static_cast<size_t>((place(i) / p_.width + place(i) % p_.width) & 1)].push_back(i);
    }
    for (int k = 0; k < settings_.blend_sweeps; ++k) {
      for (const std::vector<int>& sites : by_colour)
        pool_.split(
            0, static_cast<int>(sites.size()), kSweepGrain,
            [&](int first, int last) {
              for (int j = first; j < last; ++j) relax(sites[static_cast<size_t>(j)], screen);
            },
            kRelaxSeconds);
      done(0.4 + 0.6 * (k + 1) / settings_.blend_sweeps);
    }
    even_rim(by_colour, screen);
  }

  // A step from a target site to the known one beside it, as blending wants it.
  struct RimStep {
    int from;
    size_t way;
    Colour wanted;
  };

  // The eye finds a rim by steps across it that are larger or smaller than the steps beside it. So those
  // across are scaled until, over the whole hole, both are the same in the mean.
  void even_rim(std::vector<int> (&by_colour)[2], float screen) {
    constexpr int kDeepest = 12;  // half px: what a change at the rim reaches
    constexpr int kRounds = 2, kSweeps = 8;
    std::vector<RimStep> steps;
    for (std::vector<int>& sites : by_colour) {
      auto deep = [&](int i) { return level_.sites.depth[static_cast<size_t>(i)] > kDeepest; };
      sites.erase(std::remove_if(sites.begin(), sites.end(), deep), sites.end());
      for (int i : sites) {
        const std::array<int, 4> n = around(i);
        for (size_t k = 0; k < 4; ++k)
          if (n[k] >= 0 && !target(n[k])) steps.push_back({i, k, wanted(i, n[k], kDx[k], kDy[k])});
      }
    }
    float scale = 1;
    for (int round = 0; round < kRounds; ++round) {
      double across = 0, beside = 0;
      for (const RimStep& step : steps) contrast(step, across, beside);
      if (across <= 0 || beside <= 0) return;
      const float next = std::clamp(scale * static_cast<float>(beside / across), 0.7f, 1.4f);
      for (const RimStep& step : steps)
        for (size_t q = 0; q < 4; ++q)
          pull_[static_cast<size_t>(step.from)][q] -= (next - scale) * step.wanted[q];
      scale = next;
      for (int k = 0; k < kSweeps; ++k)
        for (const std::vector<int>& sites : by_colour)
          for (int i : sites) relax(i, screen);
    }
  }

  // Adds the contrast of a step across the rim, and the mean contrast of the up to three on each side of it.
  void contrast(const RimStep& step, double& across, double& beside) const {
    constexpr int kBeside = 3;
    auto between = [](const Colour& a, const Colour& b) {
      return static_cast<double>(std::abs(a[0] - b[0]) + std::abs(a[1] - b[1]) + std::abs(a[2] - b[2]));
    };
    double sum = 0;
    int count = 0;
    for (int i = step.from, k = 0; k < kBeside; ++k, ++count) {
      const int next = around(i)[step.way ^ 1];
      if (next < 0) break;
      sum += between(shown_[static_cast<size_t>(i)], shown_[static_cast<size_t>(next)]);
      i = next;
    }
    const int dx = kDx[step.way], dy = kDy[step.way];
    ptrdiff_t x = place(step.from) % p_.width + dx, y = place(step.from) / p_.width + dy;
    Colour outer = read(y * p_.width + x);
    const double first = between(shown_[static_cast<size_t>(step.from)], outer);
    for (int k = 0; k < kBeside; ++k, ++count) {
      x += dx, y += dy;
      if (x < 0 || y < 0 || x >= p_.width || y >= p_.height || p_.hole[y * p_.width + x]) break;
      const Colour next = read(y * p_.width + x);
      sum += between(outer, next);
      outer = next;
    }
    if (count == 0) return;
    across += first;
    beside += sum / count;
  }

  // What relaxation spreads by a site a sweep is solved for whole cells first (cascadic multigrid: Bornemann
  // and Deuflhard 1996, doi 10.1007/s002110050240), so that a difference in light across a large hole fades
  // over all of it. Steps between sites are summed from cell centre to cell centre. Adds to lift_.
  void level_cells(int cell_px, float screen) {
    Cells cells(p_.width, p_.height, cell_px);
    // A row of cells also adds to the one above it: every other row at a time, so that sums have one order.
    for (int parity : {0, 1})
      pool_.run((cells.rows() + 1 - parity) / 2, [&](int k) {
        const int row = 2 * k + parity;
        const auto& begin = level_.sites.row_begin;
        const int first = begin[static_cast<size_t>(row * cell_px)];
        const int last = begin[static_cast<size_t>(std::min(p_.height, (row + 1) * cell_px))];
        for (int i = first; i < last; ++i)
          if (target(i)) gather(i, cells, screen);
      });
    if (cells.used() < 2) return;
    cells.relax(kCellSweeps);
    if (lift_.empty()) lift_.resize(static_cast<size_t>(n_));
    pool_.split(0, n_, kGrain, [&](int first, int last) {
      for (int i = first; i < last; ++i)
        if (target(i)) lift_[static_cast<size_t>(i)] = cells.lift(column(i), row(i));
    });
  }

  // Adds a site, and the steps to its neighbours, to the cells.
  void gather(int i, Cells& cells, float screen) const {
    const size_t site = static_cast<size_t>(i);
    const int px = cells.px(), x = column(i), y = row(i);
    const float per_row = 1 / static_cast<float>(px);
    Cell& cell = cells.at(x / px, y / px);
    cell.used = true;
    cell.own += screen;
    for (size_t q = 0; q < 4; ++q) {
      cell.rhs[q] += screen * (pull_[site][q] - shown_[site][q]);
      if (!lift_.empty()) cell.value[q] = lift_[site][q];  // the coarser answer to start from
    }
    const std::array<int, 4> n = around(i);
    for (size_t k = 0; k < 4; ++k) {
      if (n[k] < 0) continue;
      const bool rim = !target(n[k]);
      if (!rim && k % 2 == 0) continue;  // each step once, from its left or upper site
      const Colour &from = shown_[site], &to = shown_[static_cast<size_t>(n[k])];
      const Colour g = wanted(i, n[k], kDx[k], kDy[k]);
      // Past half a cell the step lies on the way to the next cell's centre.
      const int next_x = (x + (k == 1 ? 1 : 0) + (k == 1 ? px / 2 : 0)) / px - (k == 1 ? 1 : 0);
      const int next_y = (y + (k == 3 ? 1 : 0) + (k == 3 ? px / 2 : 0)) / px - (k == 3 ? 1 : 0);
      for (size_t q = 0; q < 4; ++q) {
        const float missing = g[q] - (to[q] - from[q]);
        if (rim)
          cell.rhs[q] -= 2 * per_row * missing;
        else
          cells.at(next_x, next_y).rise[k == 3][q] += per_row * missing;
      }
      if (rim) cell.own += 2 * per_row;
    }
  }

  void relax(int i, float screen) {
    const size_t at = static_cast<size_t>(i);
    const int mask = mask_[at];
    Colour sum = pull_[at];
    float weight = screen;
    auto add = [&](int j) {
      for (size_t q = 0; q < 4; ++q) sum[q] += shown_[static_cast<size_t>(j)][q];
      weight += 1;
    };
    if (mask & 1) add(i - 1);
    if (mask & 2) add(i + 1);
    if (mask & 4) add(level_.sites.up[at]);
    if (mask & 8) add(level_.sites.down[at]);
    if (weight <= 0) return;
    const float scale = 1 / weight, omega = static_cast<float>(settings_.blend_step);
    for (size_t q = 0; q < 4; ++q) shown_[at][q] += omega * (sum[q] * scale - shown_[at][q]);
  }

  void write(int first, int last, Sample* out) const {
    constexpr float kMost = sizeof(Sample) == 1 ? 255.0f : 65535.0f;
    for (int i = first; i < last; ++i) {
      if (!target(i)) continue;
      Sample* to = out + place(i) * p_.channels;
      const Colour& u = shown_[static_cast<size_t>(i)];
      for (size_t q = 0; q < static_cast<size_t>(p_.channels); ++q)
        to[q] = static_cast<Sample>(std::min(kMost, std::max(0.0f, u[q])) + 0.5f);
      const int32_t label = label_[static_cast<size_t>(i)];
      if (p_.channels == 4 && label != kNowhere) to[3] = samples_[(place(i) + step(label)) * 4 + 3];
    }
  }

  const Picture& p_;
  const Level& level_;
  const Field& field_;
  const std::vector<float>& share_;
  const Settings& settings_;
  ThreadPool& pool_;
  const Sample* samples_;
  const int n_;
  std::vector<int32_t> label_;    // per site: the winning offset
  std::vector<ptrdiff_t> place_;  // per site: its pixel in the picture
  std::vector<Colour> shown_, pull_;
  std::vector<Colour> lift_;   // per site: what is added to what was copied, before the sites are relaxed
  std::vector<uint8_t> mask_;  // per site: which of its neighbours take part in blending
};

}  // namespace

void render(const Picture& picture, const Level& level, const Field& field, const std::vector<float>& share,
            const Settings& settings, ThreadPool& pool, void* out, const std::function<void(double)>& done) {
  if (picture.deep)
    Renderer<uint16_t>(picture, level, field, share, settings, pool).run(static_cast<uint16_t*>(out), done);
  else
    Renderer<uint8_t>(picture, level, field, share, settings, pool).run(static_cast<uint8_t*>(out), done);
}

}  // namespace reknit
