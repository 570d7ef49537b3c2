#include "probe.hpp"

#include <algorithm>
#include <cstring>

#include "field.hpp"
#include "kernels.hpp"
#include "level.hpp"
#include "search.hpp"
#include "threads.hpp"
#include "vote.hpp"

namespace reknit {

Probe probe(const uint8_t* guide, const bool* target, int width, int height, const Settings& settings,
            const std::string& isa) {
  const Kernels& chosen = kernels(isa);
  ThreadPool pool(settings.threads);
  Level level(width, height, 1);
  const size_t pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  for (size_t i = 0; i < pixels; ++i) {
    const int at = level.index(static_cast<int>(i) % width, static_cast<int>(i) / width);
    std::memcpy(level.pixel(at), guide + i * 4, 4);
    level.flags[static_cast<size_t>(at)] = target[i] ? kTarget : 0;
    if (!target[i]) level.weight[static_cast<size_t>(at)] = kKnownWeight;
  }
  mark_sources(level);
  find_sites(level);
  weigh_by_depth(level, settings.confidence);
  Field field(level.sites.count());
  scatter(level, field, settings.seed);
  const LevelView view = look(level, settings);
  for (int i = 1; i <= settings.sweeps; ++i)
    sweep(view, field, {i, std::max(width, height), true, settings.seed}, settings, chosen, pool);

  Probe out;
  out.site.assign(pixels, 0);
  out.weight.resize(pixels);
  out.offset.assign(pixels * 2, 0);
  out.cost.assign(pixels, 0);
  out.share.assign(pixels, 0);
  out.voted.resize(pixels * 4);
  const std::vector<float> share =
      vote_shares(level, field, settings.vote_decay, settings.sigma, false, pool);
  vote(level, view, field, false, settings, chosen, pool);
  for (int i = 0; i < level.sites.count(); ++i) {
    const size_t k = static_cast<size_t>(i);
    const int at = level.sites.at[k];
    const size_t to = static_cast<size_t>(level.row(at)) * static_cast<size_t>(width) +
                      static_cast<size_t>(level.column(at));
    out.site[to] = field.offset[k] != kNowhere;
    out.offset[to * 2] = offset_x(field.offset[k]);
    out.offset[to * 2 + 1] = offset_y(field.offset[k]);
    out.cost[to] = field.cost[k];
    out.share[to] = share[k];
  }
  for (size_t i = 0; i < pixels; ++i) {
    const int at = level.index(static_cast<int>(i) % width, static_cast<int>(i) / width);
    out.weight[i] = level.weight[static_cast<size_t>(at)];
    std::memcpy(&out.voted[i * 4], level.pixel(at), 4);
  }
  return out;
}

}  // namespace reknit
