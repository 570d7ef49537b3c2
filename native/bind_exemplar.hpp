// Hands the exemplar engine to Python.
#pragma once

#include <nanobind/nanobind.h>

void bind_exemplar(nanobind::module_& m);
