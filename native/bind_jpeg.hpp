// Hands JPEG coefficients to Python.
#pragma once

#include <nanobind/nanobind.h>

void bind_jpeg(nanobind::module_& m);
