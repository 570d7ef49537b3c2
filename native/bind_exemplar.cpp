#include "bind_exemplar.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "exemplar.hpp"
#include "kernels.hpp"
#include "probe.hpp"

namespace nb = nanobind;

namespace {

using Mask = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Pixels = nb::ndarray<nb::ro, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

struct Stopped {};

// Calls a Python function at most every 30 ms, and lets signals through.
class Progress {
 public:
  explicit Progress(nb::object function) : function_(std::move(function)) {}

  void operator()(double fraction) {
    const Clock::time_point now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(30)) return;
    last_ = now;
    nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!function_.is_none() && !nb::cast<bool>(function_(fraction))) throw Stopped{};
  }

 private:
  using Clock = std::chrono::steady_clock;
  nb::object function_;
  Clock::time_point last_ = Clock::now();
};

reknit::Settings settings_of(const nb::dict& given, uint32_t seed, int threads) {
  reknit::Settings s;
  s.seed = seed;
  s.threads = threads;
  const std::map<std::string, double*> reals = {{"coarse_depth", &s.coarse_depth},
                                                {"ratio", &s.ratio},
                                                {"texture", &s.texture},
                                                {"variety", &s.variety},
                                                {"repeats", &s.repeats},
                                                {"foreign", &s.foreign},
                                                {"shift_bias", &s.shift_bias},
                                                {"shift_share", &s.shift_share},
                                                {"potts_busy", &s.potts_busy},
                                                {"ring", &s.ring},
                                                {"potts", &s.potts},
                                                {"proximity", &s.proximity},
                                                {"proximity_x", &s.proximity_x},
                                                {"confidence", &s.confidence},
                                                {"em_coarse", &s.em_coarse},
                                                {"em_decay", &s.em_decay},
                                                {"settled", &s.settled},
                                                {"vote_decay", &s.vote_decay},
                                                {"sigma", &s.sigma},
                                                {"screen", &s.screen},
                                                {"blend_step", &s.blend_step},
                                                {"mend", &s.mend}};
  const std::map<std::string, int*> integers = {{"bank_row", &s.bank_row},
                                                {"ratio_limit", &s.ratio_limit},
                                                {"known_quarters", &s.known_quarters},
                                                {"min_sources", &s.min_sources},
                                                {"sweeps", &s.sweeps},
                                                {"sweeps_fine", &s.sweeps_fine},
                                                {"onion_samples", &s.onion_samples},
                                                {"em_min", &s.em_min},
                                                {"em_fine", &s.em_fine},
                                                {"large", &s.large},
                                                {"huge", &s.huge},
                                                {"radius", &s.radius},
                                                {"shifts", &s.shifts},
                                                {"tolerance", &s.tolerance},
                                                {"blend_sweeps", &s.blend_sweeps}};
  for (auto [key, value] : given) {
    const std::string name = nb::cast<std::string>(key);
    if (auto real = reals.find(name); real != reals.end())
      *real->second = nb::cast<double>(value);
    else if (auto integer = integers.find(name); integer != integers.end())
      *integer->second = nb::cast<int>(value);
    else
      throw std::invalid_argument("exemplar_fill has no setting " + name);
  }
  return s;
}

template <class Sample>
nb::object copy_of(const Pixels& pixels, void*& data) {
  Sample* samples = new Sample[pixels.size()];
  nb::capsule owner(samples, [](void* p) noexcept { delete[] static_cast<Sample*>(p); });
  std::memcpy(samples, pixels.data(), pixels.size() * sizeof(Sample));
  data = samples;
  const size_t shape[3] = {pixels.shape(0), pixels.shape(1), pixels.shape(2)};
  return nb::cast(nb::ndarray<nb::numpy, Sample>(samples, 3, shape, owner));
}

nb::object exemplar_fill(const Pixels& pixels, const Mask& hole, const Mask& target, const Mask& source,
                         const nb::dict& settings, uint32_t seed, int threads, nb::object progress,
                         const std::string& isa) {
  const bool deep = pixels.dtype() == nb::dtype<uint16_t>();
  if (!deep && pixels.dtype() != nb::dtype<uint8_t>()) throw nb::type_error("pixels must be uint8 or uint16");
  if (pixels.shape(2) != 3 && pixels.shape(2) != 4)
    throw std::invalid_argument("pixels must have 3 or 4 channels");
  for (const Mask* mask : {&hole, &target, &source})
    if (mask->shape(0) != pixels.shape(0) || mask->shape(1) != pixels.shape(1))
      throw std::invalid_argument("hole, target and source must be as large as pixels");
  reknit::Picture picture;
  picture.samples = pixels.data();
  picture.width = static_cast<int>(pixels.shape(1));
  picture.height = static_cast<int>(pixels.shape(0));
  picture.channels = static_cast<int>(pixels.shape(2));
  picture.deep = deep;
  picture.hole = hole.data();
  picture.target = target.data();
  picture.source = source.data();
  const reknit::Settings s = settings_of(settings, seed, threads);
  Progress report(std::move(progress));
  void* out = nullptr;
  nb::object result = deep ? copy_of<uint16_t>(pixels, out) : copy_of<uint8_t>(pixels, out);
  double energy = 0;
  try {
    nb::gil_scoped_release released;
    energy = reknit::fill(picture, s, out, [&](double fraction) { report(fraction); }, isa);
  } catch (const Stopped&) {
    return nb::none();
  }
  return nb::make_tuple(result, energy);
}

template <class T>
nb::object array_of(const std::vector<T>& values, size_t height, size_t width, size_t channels) {
  T* data = new T[values.size()];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  std::copy(values.begin(), values.end(), data);
  const size_t shape[3] = {height, width, channels};
  return nb::cast(nb::ndarray<nb::numpy, T>(data, channels == 1 ? 2 : 3, shape, owner));
}

nb::dict exemplar_probe(
    const nb::ndarray<const uint8_t, nb::shape<-1, -1, 4>, nb::c_contig, nb::device::cpu>& guide,
    const Mask& target, const nb::dict& settings, uint32_t seed, const std::string& isa) {
  if (target.shape(0) != guide.shape(0) || target.shape(1) != guide.shape(1))
    throw std::invalid_argument("target must be as large as guide");
  const size_t h = guide.shape(0), w = guide.shape(1);
  const reknit::Probe p = reknit::probe(guide.data(), target.data(), static_cast<int>(w), static_cast<int>(h),
                                        settings_of(settings, seed, 1), isa);
  nb::dict out;
  out["site"] = array_of(p.site, h, w, 1);
  out["weight"] = array_of(p.weight, h, w, 1);
  out["offset"] = array_of(p.offset, h, w, 2);
  out["cost"] = array_of(p.cost, h, w, 1);
  out["share"] = array_of(p.share, h, w, 1);
  out["voted"] = array_of(p.voted, h, w, 4);
  return out;
}

}  // namespace

void bind_exemplar(nb::module_& m) {
  m.def("exemplar_fill", &exemplar_fill, nb::arg("pixels").noconvert(), nb::arg("hole").noconvert(),
        nb::arg("target").noconvert(), nb::arg("source").noconvert(), nb::kw_only(), nb::arg("settings"),
        nb::arg("seed"), nb::arg("threads"), nb::arg("progress").none(), nb::arg("isa") = "",
        "Return a copy of pixels (H, W, 3|4, uint8|uint16) with target, a part of hole, filled from source, "
        "and the "
        "fill's energy: the lower, the better its pieces fit.\n\n"
        "progress(fraction) -> bool is called at most every 30 ms; False stops the work, and None is "
        "returned.");
  m.def("exemplar_probe", &exemplar_probe, nb::arg("guide").noconvert(), nb::arg("target").noconvert(),
        nb::kw_only(), nb::arg("settings"), nb::arg("seed"), nb::arg("isa") = "",
        "One search and vote at one size, laid open for the oracles of the tests.");
  m.def("instruction_sets", &reknit::runnable_kernels,
        "The instruction sets that exemplar_fill can use here, slowest first.");
  m.def("instruction_set", [] { return reknit::runnable_kernels().back(); }, "The one that it uses.");
}
