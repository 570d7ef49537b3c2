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

// What a source that is like nothing near along the hole costs a site.
inline int foreign(const LevelView& v, int site, ptrdiff_t source) {
  if (!v.unlike) return 0;
  const uint8_t* a = v.unlike + source * kRimSamples;
  const uint8_t* b = v.away + static_cast<ptrdiff_t>(site) * kRimSamples;
#if defined(__AVX2__)
  const __m128i sum = _mm_adds_epu8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)),
                                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  const __m128i pairs = _mm_min_epu8(sum, _mm_srli_epi16(sum, 8));
  const int least = _mm_extract_epi16(_mm_minpos_epu16(pairs), 0);
#else
  int least = 255;
  for (int k = 0; k < kRimSamples; ++k) least = least < a[k] + b[k] ? least : a[k] + b[k];
#endif
  return least * v.foreign_price;
}

// What a source costs apart from its looks.
inline int prior(const LevelView& v, int site, ptrdiff_t source, int source_row, int dx, int dy) {
  const int near = proximity(v, source_row, dx, dy) + foreign(v, site, source);
  return v.wear ? near + ((v.wear[source] * v.wear_price) >> 4) : near;
}

inline TargetPatch patch_at(const LevelView& v, int at) {
  const ptrdiff_t corner = static_cast<ptrdiff_t>(at) - kRadius * v.stride - kRadius;
  return TargetPatch(v.guide + corner * 4, v.weight + corner, v.stride);
}

// A site's patch: 5 × 5 pixels, or 9 × 9 where the level is compared on wide ones. What lies around the inner
// ones is only looked at where those fit.
class Compared {
 public:
  Compared(const LevelView& v, int at) : view_(v), at_(at), core_(patch_at(v, at)) {}

  // The cost of the source; at least `bound` if it is no less than that.
  int cost(ptrdiff_t source, int bound) {
    const int core = core_.cost(view_.guide + (source - corner(kRadius)) * 4);
    if (view_.ring_share == 0) return core;
    const int inner = static_cast<int>(static_cast<int64_t>(core) * view_.core_share >> 8);
    if (inner >= bound) return inner;
    if (!aimed_) {
      ring_.aim(view_.guide + (at_ - corner(kReach)) * 4, view_.weight + at_ - corner(kReach), view_.stride);
      aimed_ = true;
    }
    const float left = static_cast<float>(bound - inner) * view_.ring_inverse + 1;
    const int enough = left < 2e9f ? static_cast<int>(left) : INT32_MAX;
    const int outer = ring_.cost(view_.guide + (source - corner(kReach)) * 4, enough);
    return inner + static_cast<int>(static_cast<int64_t>(outer) * view_.ring_share >> 8);
  }

 private:
  ptrdiff_t corner(int radius) const { return static_cast<ptrdiff_t>(radius) * view_.stride + radius; }

  const LevelView& view_;
  int at_;
  TargetPatch core_;
  TargetRing ring_;
  bool aimed_ = false;
};

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
  Compared& patch;
  const Neighbours& neighbours;
  int site, at, row;
  int32_t offset;
  int cost, total;

  void offer(int32_t candidate, int dx, int dy, ptrdiff_t source) {
    if (candidate == offset || !(view.flags[source] & kSource)) return;
    const int owed = neighbours.owed(candidate);
    const int bound = total - owed;
    int near = proximity(view, row + dy, dx, dy);
    if (near >= bound) return;
    near += foreign(view, site, source);
    if (near >= bound) return;
    const int c = patch.cost(source, bound - near) + near;
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

  // As offer(), for an offset that may lead out of the picture.
  void try_shift(int32_t candidate) {
    const int dx = offset_x(candidate), dy = offset_y(candidate);
    const int column = at - (row + kReach) * view.stride - kReach;
    if (column + dx < 0 || column + dx >= view.width || row + dy < 0 || row + dy >= view.height) return;
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
  const int busyness = view.guide[static_cast<ptrdiff_t>(at) * 4 + 3];
  n.price = s.disagreement + (s.disagreement_busy * busyness >> 8);
  const int up = view.up[i], down = view.down[i];
  n.offset[0] = i > begin && view.at[i - 1] == at - 1 ? s.offset[i - 1] : kNowhere;
  n.offset[1] = i + 1 < end && view.at[i + 1] == at + 1 ? s.offset[i + 1] : kNowhere;
  n.offset[2] = up < 0 ? kNowhere : (up < begin ? s.offset_before : s.offset)[up];
  n.offset[3] = down < 0 ? kNowhere : (down >= end ? s.offset_before : s.offset)[down];
  const bool rescore = s.rescore && s.stirred[i];
  const uint16_t since = s.visited[i];
  const bool news = (n.offset[0] != kNowhere && s.moved[i - 1] >= since) ||
                    (n.offset[1] != kNowhere && s.moved[i + 1] >= since) ||
                    (n.offset[2] != kNowhere && (up < begin ? s.moved_before : s.moved)[up] >= since) ||
                    (n.offset[3] != kNowhere && (down >= end ? s.moved_before : s.moved)[down] >= since);
  if (!rescore && !news && !(s.rescore && s.cost[i] > s.disagreement * 4)) return;
  s.visited[i] = static_cast<uint16_t>(s.pass);
  Compared patch(view, at);
  Best best{view, patch, n, i, at, row, s.offset[i], s.cost[i], 0};
  if (rescore) {
    const int dx = offset_x(best.offset), dy = offset_y(best.offset);
    const ptrdiff_t source = at + static_cast<ptrdiff_t>(dy) * view.stride + dx;
    best.cost = patch.cost(source, INT32_MAX) + prior(view, i, source, row + dy, dx, dy);
  }
  best.total = best.cost + n.owed(best.offset);
  best.offer(n.offset[s.backward ? 1 : 0]);
  best.offer(n.offset[s.backward ? 3 : 2]);
  uint32_t random = random_state(static_cast<uint32_t>(at), s.pass, s.seed);
  if (s.pass == 1)
    for (int k = 0; k < s.shift_count; ++k) best.try_shift(s.shifts[k]);
  else if (s.shift_count > 0)
    best.try_shift(s.shifts[draw(random, 0, s.shift_count - 1)]);
  if (s.radius > 0) {
    best.probe(at - (row + kReach) * view.stride - kReach, s.radius, random);
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
  return Compared(view, at).cost(source, INT32_MAX) + proximity(view, source / view.stride - kReach, dx, dy);
}

int closest(const LevelView& view, int at, const Spot* sources, int count) {
  Compared patch(view, at);
  const int y = at / view.stride - kReach, x = at % view.stride - kReach;
  int best = INT32_MAX, winner = -1;
  for (const Spot* s = sources; s < sources + count; ++s) {
    const int near = proximity(view, s->y, s->x - x, s->y - y);
    if (near >= best) continue;
    const int c = patch.cost(s->at, best - near) + near;
    if (c >= best) continue;
    best = c;
    winner = s->at;
  }
  return winner;
}

}  // namespace

extern const Kernels table;
const Kernels table = {sweep, vote, closest, cost};
