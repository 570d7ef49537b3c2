// The only file that knows nanobind: arrays in, arrays out, nothing copied, the GIL released while work runs.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_native, m) {
  m.doc() = "The C++ core of Reknit.";
}
