// The body of every kernels_*.cpp: the same source, compiled for one instruction set each. Included inside
// namespace reknit::REKNIT_ISA and free of standard-library calls, so that no inline function compiled for a
// newer instruction set can be picked by the linker for another file.
#include "patch.inl"

namespace {

inline int least(int a, int b) { return a < b ? a : b; }
inline int most(int a, int b) { return a > b ? a : b; }
inline int magnitude(int v) { return v < 0 ? -v : v; }

inline int proximity(const LevelView& v, int source_row, int dx, int dy) {
  if (source_row >= v.bank_row) return v.bank_price;
  return static_cast<int>((static_cast<int64_t>(magnitude(dx)) * v.proximity_x +
                           static_cast<int64_t>(magnitude(dy)) * v.proximity_y) >>
                          8);
}

// What a source costs apart from its looks.
inline int prior(const LevelView& v, ptrdiff_t source, int source_row, int dx, int dy) {
  const int near = proximity(v, source_row, dx, dy);
  return v.wear ? near + ((v.wear[source] * v.wear_price) >> 4) : near;
}

inline TargetPatch patch_at(const LevelView& v, int at) {
  const ptrdiff_t corner = static_cast<ptrdiff_t>(at) - kRadius * v.stride - kRadius;
  return TargetPatch(v.guide + corner * 4, v.weight + corner, v.stride);
}

inline const uint8_t* corner_of(const LevelView& v, ptrdiff_t at) {
  return v.guide + (at - static_cast<ptrdiff_t>(kRadius) * v.stride - kRadius) * 4;
}

// A site's four neighbours' offsets and what each candidate owes for differing from them.
struct Neighbours {
  int32_t offset[4];
  int price;

  int owed(int32_t offered) const {
    int differing = 0;
    for (int k = 0; k < 4; ++k) differing += offset[k] != kNowhere && offset[k] != offered;
    return price * differing;
  }
};

// The best offset of one site so far.
struct Best {
  const LevelView& view;
  const TargetPatch& patch;
  const Neighbours& neighbours;
  int at, row;
  int32_t offset;
  int cost, total;

  void offer(int32_t candidate, int dx, int dy, ptrdiff_t source) {
    if (candidate == offset || !(view.flags[source] & kSource)) return;
    const int owed = neighbours.owed(candidate);
    const int near = proximity(view, row + dy, dx, dy);
    const int bound = total - owed;
    if (near >= bound) return;
    const int c = patch.cost(corner_of(view, source)) + near;
    if (c >= bound) return;
    offset = candidate;
    cost = c;
    total = c + owed;
  }

  void offer(int32_t candidate) {
    if (candidate == kNowhere) return;
    const int dx = offset_x(candidate), dy = offset_y(candidate);
    offer(candidate, dx, dy, at + static_cast<ptrdiff_t>(dy) * view.stride + dx);
  }

  // Random search around the best, in halving boxes. A random candidate agrees with no neighbour, so what is
  // left after paying for that bounds how far it may lie.
  void probe(int column, int radius, uint32_t& random) {
    const int owed = neighbours.owed(kNowhere);
    int reach_x = reach(total - owed, view.reach_x), reach_y = reach(total - owed, view.reach_y);
    for (int r = least(radius, most(reach_x, reach_y)); r >= 1; r >>= 1) {
      const int x = column + offset_x(offset), y = row + offset_y(offset);
      const int x0 = most(most(kRadius, x - r), column - reach_x);
      const int x1 = least(least(view.width - 1 - kRadius, x + r), column + reach_x);
      const int y0 = most(most(kRadius, y - r), row - reach_y);
      const int y1 = least(least(view.height - 1 - kRadius, y + r), row + reach_y);
      if (x0 > x1 || y0 > y1) continue;
      const int dx = draw(random, x0, x1) - column, dy = draw(random, y0, y1) - row;
      const int before = total;
      offer(pack_offset(dx, dy), dx, dy, at + static_cast<ptrdiff_t>(dy) * view.stride + dx);
      if (total == before) continue;
      reach_x = reach(total - owed, view.reach_x);
      reach_y = reach(total - owed, view.reach_y);
    }
  }

  static int reach(int budget, float px_per_unit) {
    if (budget <= 0) return 0;
    const float px = static_cast<float>(budget) * px_per_unit;
    return px < static_cast<float>(kFarthest) ? static_cast<int>(px) : kFarthest;
  }
};

void sweep_site(const LevelView& view, const Sweep& s, int i, int row, int begin, int end) {
  if (s.offset[i] == kNowhere) return;
  const int at = view.at[i];
  Neighbours n;
  n.price = s.disagreement;
  n.offset[0] = i > begin && view.at[i - 1] == at - 1 ? s.offset[i - 1] : kNowhere;
  n.offset[1] = i + 1 < end && view.at[i + 1] == at + 1 ? s.offset[i + 1] : kNowhere;
  n.offset[2] = view.up[i] >= begin ? s.offset[view.up[i]] : kNowhere;
  n.offset[3] = view.down[i] >= 0 && view.down[i] < end ? s.offset[view.down[i]] : kNowhere;
  const bool rescore = s.rescore && s.stirred[i];
  const uint16_t since = s.visited[i];
  const bool news = (n.offset[0] != kNowhere && s.moved[i - 1] >= since) ||
                    (n.offset[1] != kNowhere && s.moved[i + 1] >= since) ||
                    (n.offset[2] != kNowhere && s.moved[view.up[i]] >= since) ||
                    (n.offset[3] != kNowhere && s.moved[view.down[i]] >= since);
  if (!rescore && !news && !(s.rescore && s.cost[i] > s.disagreement * 4)) return;
  s.visited[i] = static_cast<uint16_t>(s.pass);
  const TargetPatch patch = patch_at(view, at);
  Best best{view, patch, n, at, row, s.offset[i], s.cost[i], 0};
  if (rescore) {
    const int dx = offset_x(best.offset), dy = offset_y(best.offset);
    const ptrdiff_t source = at + static_cast<ptrdiff_t>(dy) * view.stride + dx;
    best.cost = patch.cost(corner_of(view, source)) + prior(view, source, row + dy, dx, dy);
  }
  best.total = best.cost + n.owed(best.offset);
  best.offer(n.offset[s.backward ? 1 : 0]);
  best.offer(n.offset[s.backward ? 3 : 2]);
  if (s.radius > 0) {
    uint32_t random = random_state(static_cast<uint32_t>(at), s.pass, s.seed);
    best.probe(at - (row + kRadius) * view.stride - kRadius, s.radius, random);
  }
  if (s.offset[i] != best.offset) s.moved[i] = static_cast<uint16_t>(s.pass);
  s.offset[i] = best.offset;
  s.cost[i] = best.cost;
}

void sweep(const LevelView& view, const Sweep& s) {
  const int begin = view.row_begin[s.first_row], end = view.row_begin[s.last_row];
  if (!s.backward) {
    for (int row = s.first_row; row < s.last_row; ++row)
      for (int i = view.row_begin[row]; i < view.row_begin[row + 1]; ++i)
        sweep_site(view, s, i, row, begin, end);
  } else {
    for (int row = s.last_row - 1; row >= s.first_row; --row)
      for (int i = view.row_begin[row + 1] - 1; i >= view.row_begin[row]; --i)
        sweep_site(view, s, i, row, begin, end);
  }
}

// The first sites of the five rows of a target pixel's patch: every target pixel has all those inside the
// picture.
struct Window {
  int first[kSide];  // site at the row's leftmost column, or -1 when the row is outside
  int columns;
};

inline Window window_of(const LevelView& v, int i) {
  Window w;
  int left = 0, right = 0;
  while (left < kRadius && i - left - 1 >= 0 && v.at[i - left - 1] == v.at[i] - left - 1) ++left;
  while (right < kRadius && i + right + 1 < v.sites && v.at[i + right + 1] == v.at[i] + right + 1) ++right;
  w.columns = left + right + 1;
  for (int k = 0; k < kSide; ++k) w.first[k] = -1;
  int u = i, d = i;
  w.first[kRadius] = i - left;
  for (int k = 1; k <= kRadius; ++k) {
    if (u >= 0) u = v.up[u];
    if (d >= 0) d = v.down[d];
    if (u >= 0) w.first[kRadius - k] = u - left;
    if (d >= 0) w.first[kRadius + k] = d - left;
  }
  return w;
}

inline bool all_show(const Window& w, const int32_t* offset, int32_t same) {
  bool equal = true;
  for (int k = 0; k < kSide; ++k) {
    if (w.first[k] < 0) continue;
    const int32_t* row = offset + w.first[k];
    for (int c = 0; c < w.columns; ++c) equal &= row[c] == same;
  }
  return equal;
}

int64_t vote(const LevelView& view, const Vote& job, int64_t& pixels) {
  int64_t change = 0;
  for (int i = job.first; i < job.last; ++i) {
    const int at = view.at[i];
    if (!(view.flags[at] & kTarget)) continue;
    const Window w = window_of(view, i);
    uint8_t* out = view.guide + static_cast<ptrdiff_t>(at) * 4;
    uint8_t fresh[4];
    const int32_t own = job.offset[i];
    if (own != kNowhere && all_show(w, job.offset, own)) {
      const uint8_t* p = out + (static_cast<ptrdiff_t>(offset_y(own)) * view.stride + offset_x(own)) * 4;
      for (int c = 0; c < 4; ++c) fresh[c] = p[c];
    } else {
      float sum[4] = {0, 0, 0, 0}, total = 0;
      for (int k = 0; k < kSide; ++k) {
        if (w.first[k] < 0) continue;
        for (int j = w.first[k]; j < w.first[k] + w.columns; ++j) {
          const int32_t o = job.offset[j];
          if (o == kNowhere) continue;
          const float share = job.share[j];
          const uint8_t* p = out + (static_cast<ptrdiff_t>(offset_y(o)) * view.stride + offset_x(o)) * 4;
          for (int c = 0; c < 4; ++c) sum[c] += share * static_cast<float>(p[c]);
          total += share;
        }
      }
      if (total <= 0) continue;
      const float scale = 1 / total;
      for (int c = 0; c < 4; ++c) fresh[c] = static_cast<uint8_t>(sum[c] * scale + 0.5f);
    }
    bool changed = false;
    for (int c = 0; c < 3; ++c) {
      const int by = magnitude(fresh[c] - out[c]);
      change += by;
      changed |= by > job.tolerance;
    }
    job.changed[i] = changed;
    for (int c = 0; c < 4; ++c) out[c] = fresh[c];
    ++pixels;
  }
  return change;
}

int cost(const LevelView& view, int at, int source) {
  const int dy = source / view.stride - at / view.stride, dx = source % view.stride - at % view.stride;
  return patch_at(view, at).cost(corner_of(view, source)) +
         proximity(view, source / view.stride - kRadius, dx, dy);
}

int closest(const LevelView& view, int at, const Spot* sources, int count) {
  const TargetPatch patch = patch_at(view, at);
  const int y = at / view.stride - kRadius, x = at % view.stride - kRadius;
  int best = INT32_MAX, winner = -1;
  for (const Spot* s = sources; s < sources + count; ++s) {
    const int near = proximity(view, s->y, s->x - x, s->y - y);
    if (near >= best) continue;
    const int c = patch.cost(corner_of(view, s->at)) + near;
    if (c >= best) continue;
    best = c;
    winner = s->at;
  }
  return winner;
}

}  // namespace

extern const Kernels table;
const Kernels table = {sweep, vote, closest, cost};
