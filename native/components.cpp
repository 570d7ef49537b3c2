#include "components.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace reknit {
namespace {

std::uint64_t word(const std::uint8_t* p) {
  std::uint64_t w;
  std::memcpy(&w, p, 8);
  return w;
}

// The next column at or after x whose byte is set, or `width`.
int next_set(const std::uint8_t* row, int x, int width) {
  while (x + 8 <= width && word(row + x) == 0) x += 8;
  while (x < width && !row[x]) ++x;
  return x;
}

// The next column at or after x whose byte is 0, or `width`. NumPy's true is the byte 1.
int next_clear(const std::uint8_t* row, int x, int width) {
  while (x + 8 <= width && word(row + x) == 0x0101010101010101u) x += 8;
  while (x < width && row[x]) ++x;
  return x;
}

struct Run {
  int x0, x1, label;
};

class Forest {
 public:
  std::vector<Blob> blobs;

  int add(const Blob& blob) {
    blobs.push_back(blob);
    parents_.push_back(static_cast<int>(parents_.size()));
    return parents_.back();
  }

  int root(int i) {
    while (parents_[index(i)] != i) i = parents_[index(i)] = parents_[index(parents_[index(i)])];
    return i;
  }

  // Roots are the smallest label of their tree, so order follows first pixels.
  int unite(int a, int b) {
    a = root(a);
    b = root(b);
    if (a > b) std::swap(a, b);
    if (a != b) {
      parents_[index(b)] = a;
      take(a, blobs[index(b)]);
    }
    return a;
  }

  void take(int a, const Blob& other) {
    Blob& blob = blobs[index(a)];
    blob.x0 = std::min(blob.x0, other.x0);
    blob.y0 = std::min(blob.y0, other.y0);
    blob.x1 = std::max(blob.x1, other.x1);
    blob.y1 = std::max(blob.y1, other.y1);
    blob.area += other.area;
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  std::vector<int> parents_;
};

}  // namespace

std::vector<Blob> components(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width) {
  Forest forest;
  std::vector<Run> above, here;
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* row = mask + y * row_stride;
    here.clear();
    std::size_t a = 0;
    for (int x = next_set(row, 0, width); x < width;) {
      const int end = next_clear(row, x, width);
      const Blob blob{x, y, end, y + 1, end - x};
      int label = -1;
      while (a < above.size() && above[a].x1 < x) ++a;  // a diagonal neighbour ends exactly at x
      for (std::size_t i = a; i < above.size() && above[i].x0 <= end; ++i)
        label = label < 0 ? forest.root(above[i].label) : forest.unite(label, above[i].label);
      if (label < 0) {
        label = forest.add(blob);
      } else {
        forest.take(label, blob);
      }
      here.push_back({x, end, label});
      x = next_set(row, end, width);
    }
    std::swap(above, here);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < forest.blobs.size(); ++i)
    if (forest.root(static_cast<int>(i)) == static_cast<int>(i)) forest.blobs[kept++] = forest.blobs[i];
  forest.blobs.resize(kept);
  return std::move(forest.blobs);
}

std::vector<Blob> occupied_cells(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width,
                                 int cell_px) {
  std::vector<Blob> found;
  std::vector<Blob> strip(static_cast<std::size_t>((width + cell_px - 1) / cell_px));
  for (int top = 0; top < height; top += cell_px) {
    std::fill(strip.begin(), strip.end(), Blob{width, height, 0, 0, 0});
    for (int y = top; y < std::min(height, top + cell_px); ++y) {
      const std::uint8_t* row = mask + y * row_stride;
      for (int x = next_set(row, 0, width); x < width; x = next_set(row, x, width)) {
        const int end = next_clear(row, x, width);
        while (x < end) {
          const int cell = x / cell_px;
          const int stop = std::min(end, (cell + 1) * cell_px);
          Blob& blob = strip[static_cast<std::size_t>(cell)];
          blob.x0 = std::min(blob.x0, x);
          blob.y0 = std::min(blob.y0, y);
          blob.x1 = std::max(blob.x1, stop);
          blob.y1 = y + 1;
          blob.area += stop - x;
          x = stop;
        }
      }
    }
    for (const Blob& blob : strip)
      if (blob.area) found.push_back(blob);
  }
  return found;
}

}  // namespace reknit
