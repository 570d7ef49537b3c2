// The inner loops for x86 with AVX2.
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

namespace reknit::avx2 {
#include "kernels.inl"
}  // namespace reknit::avx2
