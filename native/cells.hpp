// Squares of pixels as the unknowns of a coarse Poisson equation: how much the colours of each are to be
// lifted.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace reknit {

using Colour = std::array<float, 4>;

struct Cell {
  Colour value{}, rhs{};
  Colour rise[2] = {};  // wanted from here to the cell on the right, and to the one below
  float own = 0;
  bool used = false;
};

class Cells {
 public:
  Cells(int width, int height, int px);

  int px() const { return px_; }
  int rows() const { return rows_; }
  // Cells beyond the border, by one, may be asked for as well.
  Cell& at(int column, int row) { return cells_[index(column, row)]; }

  // Cells that were marked used.
  int used() const;

  // Sweeps over them by successive over-relaxation.
  void relax(int sweeps);

  // The lift of pixel (x, y), by linear interpolation between the centres of the cells around it.
  Colour lift(int x, int y) const;

 private:
  size_t index(int column, int row) const {
    return static_cast<size_t>(row + 1) * across_ + static_cast<size_t>(column + 1);
  }
  void relax_one(size_t c);

  int px_, rows_;
  size_t across_;
  std::vector<Cell> cells_;
};

}  // namespace reknit
