#include "bind_jpeg.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <optional>
#include <string>
#include <utility>

#include "jpeg.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using reknit::Jpeg;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;

reknit::PixelView view(const Pixels& pixels, int left = 0, int top = 0) {
  return {pixels.data(),
          static_cast<int>(pixels.shape(1)),
          static_cast<int>(pixels.shape(0)),
          pixels.stride(0),
          pixels.stride(1),
          pixels.stride(2),
          left,
          top};
}

}  // namespace

void bind_jpeg(nb::module_& m) {
  nb::exception<reknit::JpegError>(m, "JpegError", PyExc_ValueError);
  nb::class_<Jpeg>(m, "Jpeg", "A JPEG file as quantised DCT coefficients.")
      .def_static(
          "read",
          [](const nb::bytes& data) {
            nb::gil_scoped_release release;
            return Jpeg::read(reinterpret_cast<const std::uint8_t*>(data.c_str()), data.size());
          },
          "data"_a)
      .def("placed", &Jpeg::placed, "width"_a, "height"_a, "left"_a = 0, "top"_a = 0)
      .def(
          "update",
          [](Jpeg& self, std::optional<Pixels> before, const Pixels& after, int left, int top) {
            reknit::PixelView old{};
            if (before) old = view(*before, left, top);
            const reknit::PixelView fresh = view(after);
            nb::gil_scoped_release release;
            const reknit::JpegCounts counts = self.update(before ? &old : nullptr, fresh);
            return std::make_pair(counts.carried, counts.total);
          },
          "before"_a.noconvert().none(), "after"_a.noconvert(), "left"_a = 0, "top"_a = 0)
      .def(
          "write",
          [](const Jpeg& self, const nb::bytes& segments) {
            const std::string head(segments.c_str(), segments.size());
            std::string out;
            {
              nb::gil_scoped_release release;
              out = self.write(head);
            }
            return nb::bytes(out.data(), out.size());
          },
          "segments"_a)
      .def(
          "coefficients",
          [](Jpeg& self, std::size_t component) {
            auto& part = self.components.at(component);
            return nb::ndarray<nb::numpy, std::int16_t, nb::ndim<3>>(
                part.coefficients.data(), {static_cast<std::size_t>(part.rows),
                                           static_cast<std::size_t>(part.stride), std::size_t{64}});
          },
          "component"_a, nb::rv_policy::reference_internal)
      .def(
          "quantisation",
          [](Jpeg& self, std::size_t component) {
            auto& table = self.quantisation.at(static_cast<std::size_t>(self.components.at(component).table));
            return nb::ndarray<nb::numpy, const std::uint16_t, nb::ndim<1>>(table.data(), {table.size()});
          },
          "component"_a, nb::rv_policy::reference_internal)
      .def(
          "component",
          [](const Jpeg& self, std::size_t component) {
            const auto& part = self.components.at(component);
            return nb::make_tuple(part.id, part.h, part.v, part.blocks_x, part.blocks_y);
          },
          "component"_a)
      .def_prop_ro("count", [](const Jpeg& self) { return self.components.size(); })
      .def_ro("width", &Jpeg::width)
      .def_ro("height", &Jpeg::height)
      .def_ro("progressive", &Jpeg::progressive)
      .def_ro("rgb", &Jpeg::rgb)
      .def_ro("end", &Jpeg::end);
}
