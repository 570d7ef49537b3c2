// The bind files alone know nanobind: arrays in, arrays out, nothing copied, the GIL released while work
// runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "bind_exemplar.hpp"
#include "bind_jpeg.hpp"
#include "compare.hpp"
#include "components.hpp"
#include "distance.hpp"
#include "regions.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

// Rows of a bool picture may be strided, as in a view of a larger one; columns may not.
using Mask = nb::ndarray<const bool, nb::ndim<2>, nb::device::cpu>;
using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T, typename... Shape>
nb::ndarray<nb::numpy, T> owned(std::unique_ptr<T[]> data, Shape... shape) {
  T* raw = data.release();
  nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(raw, {static_cast<std::size_t>(shape)...}, owner);
}

struct MaskView {
  const std::uint8_t* data;
  std::ptrdiff_t row_stride;
  int height, width;

  explicit MaskView(const Mask& mask)
      : data(reinterpret_cast<const std::uint8_t*>(mask.data())),
        row_stride(static_cast<std::ptrdiff_t>(mask.stride(0))),
        height(static_cast<int>(mask.shape(0))),
        width(static_cast<int>(mask.shape(1))) {
    if (mask.shape(0) > (1u << 20) || mask.shape(1) > (1u << 20))
      throw nb::value_error("a side is over 2^20 px");
    if (width > 1 && mask.stride(1) != 1) throw nb::value_error("rows of a mask must be contiguous");
  }
};

nb::ndarray<nb::numpy, float> distance_transform(const Mask& mask, int threads) {
  const MaskView view(mask);
  std::unique_ptr<float[]> out;
  {
    nb::gil_scoped_release release;
    out.reset(new float[mask.size()]);
    reknit::ThreadPool pool(threads);
    reknit::distance_transform(view.data, view.row_stride, view.height, view.width, out.get(), pool);
  }
  return owned(std::move(out), view.height, view.width);
}

// Rows of x0, y0, x1, y1, area.
nb::ndarray<nb::numpy, std::int64_t> blob_rows(const std::vector<reknit::Blob>& blobs) {
  std::unique_ptr<std::int64_t[]> rows(new std::int64_t[blobs.size() * 5]);
  std::int64_t* row = rows.get();
  for (const reknit::Blob& blob : blobs) {
    *row++ = blob.x0;
    *row++ = blob.y0;
    *row++ = blob.x1;
    *row++ = blob.y1;
    *row++ = blob.area;
  }
  return owned(std::move(rows), blobs.size(), 5);
}

nb::ndarray<nb::numpy, std::int64_t> components(const Mask& mask) {
  const MaskView view(mask);
  std::vector<reknit::Blob> blobs;
  {
    nb::gil_scoped_release release;
    blobs = reknit::components(view.data, view.row_stride, view.height, view.width);
  }
  return blob_rows(blobs);
}

nb::ndarray<nb::numpy, std::int64_t> occupied_cells(const Mask& mask, int cell_px) {
  const MaskView view(mask);
  if (cell_px < 1) throw nb::value_error("cell_px must be at least 1");
  std::vector<reknit::Blob> blobs;
  {
    nb::gil_scoped_release release;
    blobs = reknit::occupied_cells(view.data, view.row_stride, view.height, view.width, cell_px);
  }
  return blob_rows(blobs);
}

// Rows of the hole box, the crop box and the wave.
nb::ndarray<nb::numpy, std::int64_t> plan_regions(const Mask& hole, double context, std::int64_t min_px,
                                                  std::int64_t max_px, std::int64_t call_px,
                                                  std::int64_t max_pixels) {
  const MaskView view(hole);
  std::vector<reknit::Region> regions;
  {
    nb::gil_scoped_release release;
    regions = reknit::plan_regions(view.data, view.row_stride, view.height, view.width,
                                   {context, min_px, max_px, call_px, max_pixels});
  }
  std::unique_ptr<std::int64_t[]> rows(new std::int64_t[regions.size() * 9]);
  std::int64_t* row = rows.get();
  for (const reknit::Region& region : regions) {
    for (const reknit::Frame& f : {region.hole, region.crop})
      for (const std::int64_t side : {f.x0, f.y0, f.x1, f.y1}) *row++ = side;
    *row++ = region.wave;
  }
  return owned(std::move(rows), regions.size(), 9);
}

std::int64_t differences_where_kept(const Bytes& before, const Bytes& after, const Bytes& kept, int threads) {
  const std::size_t pixels = kept.size();
  if (before.size() != after.size() || pixels == 0 || before.size() % pixels != 0)
    throw nb::value_error("before, after and kept do not match");
  nb::gil_scoped_release release;
  reknit::ThreadPool pool(threads);
  return reknit::differences_where_kept(before.data(), after.data(), kept.data(),
                                        static_cast<std::int64_t>(pixels),
                                        static_cast<int>(before.size() / pixels), pool);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "The C++ core of Reknit.";
  bind_exemplar(m);
  bind_jpeg(m);
  m.def("distance_transform", &distance_transform, "mask"_a.noconvert(), "threads"_a = 1,
        "Distance in pixels from every pixel to the nearest set one: (H, W) bool to (H, W) float32.");
  m.def("components", &components, "mask"_a.noconvert(),
        "8-connected components as (N, 5) int64 rows of x0, y0, x1, y1, area, in raster order.");
  m.def("occupied_cells", &occupied_cells, "mask"_a.noconvert(), "cell_px"_a,
        "Grid cells that hold a set pixel, as (N, 5) int64 rows of tight x0, y0, x1, y1, area, in raster "
        "order.");
  m.def("plan_regions", &plan_regions, "hole"_a.noconvert(), "context"_a, "min_px"_a, "max_px"_a, "call_px"_a,
        "max_pixels"_a, "Regions as (N, 9) int64 rows of hole box, crop box and wave.");
  m.def("differences_where_kept", &differences_where_kept, "before"_a.noconvert(), "after"_a.noconvert(),
        "kept"_a.noconvert(), "threads"_a = 1,
        "How many pixels differ between two flat byte pictures where `kept` is 255.");
}
