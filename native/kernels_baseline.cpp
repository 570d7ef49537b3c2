// The inner loops for whatever the compiler targets by default.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "field.hpp"
#include "foreign.hpp"
#include "kernels.hpp"
#include "random.hpp"

namespace reknit::baseline {
#include "kernels.inl"
}  // namespace reknit::baseline
