#include "regions.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "components.hpp"
#include "distance.hpp"
#include "threads.hpp"

namespace reknit {
namespace {

constexpr int kCellPx = 8;
constexpr std::size_t kManyCells = 1 << 15;
constexpr std::int64_t kSmallPx = 256;  // what hangs together within this many pixels is not cut to save work
constexpr double kThrough = 0.4;  // what a cut all the way through something must save, of one crop's cost
constexpr int kDeepest = 256;     // of the recursion
constexpr double kNever = std::numeric_limits<double>::infinity();

// Pixels of the hole: their tight frame and their number.
struct Extent {
  Frame box{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max(), 0, 0};
  std::int64_t area = 0;

  void take(const Frame& other, std::int64_t pixels) {
    box.x0 = std::min(box.x0, other.x0);
    box.y0 = std::min(box.y0, other.y0);
    box.x1 = std::max(box.x1, other.x1);
    box.y1 = std::max(box.y1, other.y1);
    area += pixels;
  }
};

struct Cell {
  Frame box;
  std::int64_t area;
  std::array<std::int64_t, 2> at;  // column and row in the grid
  std::array<bool, 2> joined;  // whether something reaches over the right (bottom) side into the next cells
};

struct Grid {
  std::vector<Cell> cells;
  std::int64_t cell_px, columns, rows;
};

std::vector<Blob> halved(const std::vector<Blob>& cells, std::int64_t cell_px, std::int64_t columns,
                         std::int64_t rows) {
  std::vector<Blob> wide(static_cast<std::size_t>(columns * rows), Blob{0, 0, 0, 0, 0});
  for (const Blob& cell : cells) {
    Blob& into = wide[static_cast<std::size_t>(cell.y0 / cell_px * columns + cell.x0 / cell_px)];
    if (into.area) {
      into.x0 = std::min(into.x0, cell.x0);
      into.y0 = std::min(into.y0, cell.y0);
      into.x1 = std::max(into.x1, cell.x1);
      into.y1 = std::max(into.y1, cell.y1);
      into.area += cell.area;
    } else {
      into = cell;
    }
  }
  wide.erase(std::remove_if(wide.begin(), wide.end(), [](const Blob& b) { return b.area == 0; }), wide.end());
  return wide;
}

Grid make_grid(const std::uint8_t* hole, std::ptrdiff_t row_stride, int height, int width) {
  Grid grid{{}, kCellPx, (width + kCellPx - 1) / kCellPx, (height + kCellPx - 1) / kCellPx};
  std::vector<Blob> blobs = occupied_cells(hole, row_stride, height, width, kCellPx);
  while (blobs.size() > kManyCells) {
    grid.cell_px *= 2;
    grid.columns = (grid.columns + 1) / 2;
    grid.rows = (grid.rows + 1) / 2;
    blobs = halved(blobs, grid.cell_px, grid.columns, grid.rows);
  }
  const std::int64_t pitch = grid.columns + 2;
  std::vector<int> index(static_cast<std::size_t>(pitch * (grid.rows + 2)), -1);
  for (const Blob& b : blobs) {
    const std::int64_t column = b.x0 / grid.cell_px, row = b.y0 / grid.cell_px;
    index[static_cast<std::size_t>((row + 1) * pitch + column + 1)] = static_cast<int>(grid.cells.size());
    grid.cells.push_back({{b.x0, b.y0, b.x1, b.y1}, b.area, {column, row}, {false, false}});
  }
  for (Cell& cell : grid.cells) {
    const std::int64_t here = (cell.at[1] + 1) * pitch + cell.at[0] + 1;
    const std::int64_t right = (cell.at[0] + 1) * grid.cell_px, bottom = (cell.at[1] + 1) * grid.cell_px;
    for (std::int64_t side = -1; side <= 1; ++side) {
      const int beside = index[static_cast<std::size_t>(here + 1 + side * pitch)];
      const int below = index[static_cast<std::size_t>(here + pitch + side)];
      if (beside >= 0 && cell.box.x1 == right && grid.cells[static_cast<std::size_t>(beside)].box.x0 == right)
        cell.joined[0] = true;
      if (below >= 0 && cell.box.y1 == bottom && grid.cells[static_cast<std::size_t>(below)].box.y0 == bottom)
        cell.joined[1] = true;
    }
  }
  return grid;
}

struct Cut {
  double score = kNever;
  int axis = 0;
  std::int64_t at = 0;  // cells whose place is below this lie on the first side
  double share = 1;     // it must leave less than this share of the cost
};

class Planner {
 public:
  struct Piece {
    std::size_t begin, end;  // of the grid's cells
  };

  Planner(Grid& grid, std::int64_t width, std::int64_t height, const RegionRule& rule)
      : grid_(grid), width_(width), height_(height), rule_(rule) {
    Extent speck;
    speck.take({width / 2, height / 2, width / 2 + 1, height / 2 + 1}, 1);
    least_ = cost(speck);
  }

  Extent extent(const Piece& piece) const {
    Extent all;
    for (std::size_t i = piece.begin; i < piece.end; ++i) all.take(grid_.cells[i].box, grid_.cells[i].area);
    return all;
  }

  // The pixels of surroundings that an extent gets; `fits` says whether the crop is under the limit with
  // them.
  std::int64_t context_px(const Extent& e, bool* fits) const {
    const double longer = static_cast<double>(std::max(e.box.x1 - e.box.x0, e.box.y1 - e.box.y0));
    const double extent = std::min(longer, 2 * std::sqrt(static_cast<double>(e.area)));
    const double least = std::min(static_cast<double>(rule_.min_px), 16 + 2 * extent);
    const double wanted =
        std::min(std::max(rule_.context * extent, least), static_cast<double>(rule_.max_px));
    const auto most = static_cast<std::int64_t>(std::ceil(wanted));
    const auto enough = static_cast<std::int64_t>(std::ceil(std::max(std::min(least, wanted), wanted / 4)));
    for (std::int64_t px = most;; px = std::max(enough, px - std::max<std::int64_t>(1, px / 16))) {
      *fits = pixels(framed(e.box, px)) <= rule_.max_pixels;
      if (*fits || px <= enough) return px;
    }
  }

  Frame framed(const Frame& b, std::int64_t px) const {
    return {std::max<std::int64_t>(0, b.x0 - px), std::max<std::int64_t>(0, b.y0 - px),
            std::min(width_, b.x1 + px), std::min(height_, b.y1 + px)};
  }

  // The pieces that all cells are best filled in.
  std::vector<Piece> divide() {
    grow({0, grid_.cells.size()}, 0);
    std::vector<Piece> pieces;
    collect(0, pieces);
    return pieces;
  }

 private:
  static std::int64_t pixels(const Frame& f) { return (f.x1 - f.x0) * (f.y1 - f.y0); }

  struct Node {
    Piece piece;
    double whole, best;                 // what one crop costs, and what any division does
    double share = 1;                   // a division must cost less than this share of one crop
    std::size_t first = 0, second = 0;  // sides of the cut; 0 = none
  };

  // Adds the tree of all cuts worth a look and returns its root.
  std::size_t grow(const Piece& piece, int depth) {
    const Extent all = extent(piece);
    const double whole = cost(all);
    const std::size_t node = nodes_.size();
    nodes_.push_back({piece, whole, whole});
    bool fits;
    context_px(all, &fits);
    if (piece.end - piece.begin == 1 || depth == kDeepest || (fits && !worth_cutting(piece, whole)))
      return node;
    const Cut cut = fits ? best_cut(piece, all) : middle_cut(piece);
    if (cut.score == kNever) return node;
    const auto cells = grid_.cells.begin();
    const auto split = std::stable_partition(
        cells + static_cast<std::ptrdiff_t>(piece.begin), cells + static_cast<std::ptrdiff_t>(piece.end),
        [&](const Cell& cell) { return cell.at[static_cast<std::size_t>(cut.axis)] < cut.at; });
    const auto between = static_cast<std::size_t>(split - cells);
    const std::size_t first = grow({piece.begin, between}, depth + 1);
    const std::size_t second = grow({between, piece.end}, depth + 1);
    Node& made = nodes_[node];
    made.first = first;
    made.second = second;
    made.share = fits ? cut.share : kNever;
    const double apart = nodes_[first].best + nodes_[second].best;
    made.best = fits ? std::min(whole, apart) : apart;
    return node;
  }

  void collect(std::size_t node, std::vector<Piece>& pieces) const {
    const Node& n = nodes_[node];
    if (n.first && n.best < n.whole * n.share) {
      collect(n.first, pieces);
      collect(n.second, pieces);
    } else {
      pieces.push_back(n.piece);
    }
  }

  double cost(const Extent& e) const {
    bool fits;
    return static_cast<double>(rule_.call_px + pixels(framed(e.box, context_px(e, &fits))));
  }

  // Not where nothing could be saved, nor where the cells are a filled rectangle.
  bool worth_cutting(const Piece& piece, double whole) const {
    if (whole <= 2 * least_) return false;
    const auto [low, high] = span(piece);
    const std::int64_t places = (high[0] - low[0] + 1) * (high[1] - low[1] + 1);
    return static_cast<double>(piece.end - piece.begin) < 0.9 * static_cast<double>(places);
  }

  using Place = std::array<std::int64_t, 2>;

  std::pair<Place, Place> span(const Piece& piece) const {
    Place low{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max()}, high{0, 0};
    for (std::size_t i = piece.begin; i < piece.end; ++i) {
      for (std::size_t axis = 0; axis < 2; ++axis) {
        low[axis] = std::min(low[axis], grid_.cells[i].at[axis]);
        high[axis] = std::max(high[axis], grid_.cells[i].at[axis]);
      }
    }
    return {low, high};
  }

  // The straight cut after which one crop a side costs least; without an advantage for cuts near the middle
  // it would only shave off slivers.
  Cut best_cut(const Piece& piece, const Extent& all) const {
    const auto [low, high] = span(piece);
    const bool small = std::max(all.box.x1 - all.box.x0, all.box.y1 - all.box.y0) <= kSmallPx;
    Cut best;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const std::size_t n = static_cast<std::size_t>(high[axis] - low[axis] + 1);
      std::vector<Extent> strips(n);
      std::vector<int> crossings(n, 0);
      for (std::size_t i = piece.begin; i < piece.end; ++i) {
        const Cell& cell = grid_.cells[i];
        const std::size_t k = static_cast<std::size_t>(cell.at[axis] - low[axis]);
        strips[k].take(cell.box, cell.area);
        crossings[k] += cell.joined[axis];
      }
      std::vector<double> after(n, 0);
      Extent running;
      for (std::size_t k = n - 1; k > 0; --k) {
        running.take(strips[k].box, strips[k].area);
        after[k] = cost(running);
      }
      running = Extent();
      for (std::size_t k = 0; k + 1 < n; ++k) {
        if (strips[k].area == 0) continue;
        running.take(strips[k].box, strips[k].area);
        if (small && crossings[k]) continue;
        const double lopsided = std::abs(2 * static_cast<double>(k + 1) / static_cast<double>(n) - 1);
        const double through =
            static_cast<double>(crossings[k]) / static_cast<double>(high[1 - axis] - low[1 - axis] + 1);
        const double share = 1 - kThrough * std::min(1.0, through);
        const double score = (cost(running) + after[k + 1]) / share * (1 + 0.5 * lopsided);
        if (score < best.score)
          best = {score, static_cast<int>(axis), low[axis] + static_cast<std::int64_t>(k) + 1, share};
      }
    }
    return best;
  }

  // Halves the longer side, for what is too large for one crop.
  Cut middle_cut(const Piece& piece) const {
    const auto [low, high] = span(piece);
    const std::size_t axis = high[0] - low[0] >= high[1] - low[1] ? 0 : 1;
    return {0, static_cast<int>(axis), (low[axis] + high[axis] + 1) / 2};
  }

  Grid& grid_;
  const std::int64_t width_, height_;
  const RegionRule rule_;
  double least_ = 0;
  std::vector<Node> nodes_;
};

// How far each cell lies from one without hole, in cells.
std::vector<float> depths(const Grid& grid) {
  const std::int64_t pitch = grid.columns + 2, rows = grid.rows + 2;
  std::vector<std::uint8_t> outside(static_cast<std::size_t>(pitch * rows), 0);
  for (std::int64_t y = 0; y < grid.rows; ++y)
    std::fill_n(outside.begin() + (y + 1) * pitch + 1, grid.columns, std::uint8_t{1});
  for (const Cell& cell : grid.cells) {
    const bool full = cell.area >= (cell.box.x1 - cell.box.x0) * (cell.box.y1 - cell.box.y0);
    outside[static_cast<std::size_t>((cell.at[1] + 1) * pitch + cell.at[0] + 1)] = !full;
  }
  std::vector<float> distance(outside.size());
  ThreadPool alone(1);
  distance_transform(outside.data(), pitch, static_cast<int>(rows), static_cast<int>(pitch), distance.data(),
                     alone);
  std::vector<float> found;
  for (const Cell& cell : grid.cells)
    found.push_back(distance[static_cast<std::size_t>((cell.at[1] + 1) * pitch + cell.at[0] + 1)]);
  return found;
}

bool meet(const Frame& a, const Frame& b) { return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1; }

// Gives waves to regions sorted by `level`: above those of a lower level in sight, and unlike all in sight.
void set_waves(std::vector<Region>& regions, const std::vector<std::int64_t>& levels) {
  std::set<int> taken;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    taken.clear();
    int wave = 0;
    for (std::size_t j = 0; j < i; ++j) {
      if (!meet(regions[i].crop, regions[j].hole) && !meet(regions[i].hole, regions[j].crop)) continue;
      taken.insert(regions[j].wave);
      if (levels[j] < levels[i]) wave = std::max(wave, regions[j].wave + 1);
    }
    while (taken.count(wave)) ++wave;
    regions[i].wave = wave;
  }
}

}  // namespace

std::vector<Region> plan_regions(const std::uint8_t* hole, std::ptrdiff_t row_stride, int height, int width,
                                 const RegionRule& rule) {
  Grid grid = make_grid(hole, row_stride, height, width);
  if (grid.cells.empty()) return {};
  Planner planner(grid, width, height, rule);
  const std::vector<Planner::Piece> pieces = planner.divide();

  const std::vector<float> depth = depths(grid);
  std::vector<std::pair<std::int64_t, Region>> found;
  for (const Planner::Piece& piece : pieces) {
    const Extent all = planner.extent(piece);
    bool fits;
    const std::int64_t px = planner.context_px(all, &fits);
    float rim = depth[piece.begin];
    for (std::size_t i = piece.begin; i < piece.end; ++i) rim = std::min(rim, depth[i]);
    const double reach = static_cast<double>(std::max<std::int64_t>(px, grid.cell_px));
    const double away = std::isinf(rim) ? 0 : static_cast<double>(rim) * static_cast<double>(grid.cell_px);
    found.push_back({static_cast<std::int64_t>(away / reach), {all.box, planner.framed(all.box, px), 0}});
  }
  const auto raster = [](const Region& r) { return std::make_pair(r.hole.y0, r.hole.x0); };
  std::sort(found.begin(), found.end(), [&](const auto& a, const auto& b) {
    return std::make_pair(a.first, raster(a.second)) < std::make_pair(b.first, raster(b.second));
  });
  std::vector<Region> regions;
  std::vector<std::int64_t> levels;
  for (const auto& [level, region] : found) {
    levels.push_back(level);
    regions.push_back(region);
  }
  set_waves(regions, levels);
  std::sort(regions.begin(), regions.end(), [&](const Region& a, const Region& b) {
    return std::make_pair(a.wave, raster(a)) < std::make_pair(b.wave, raster(b));
  });
  return regions;
}

}  // namespace reknit
