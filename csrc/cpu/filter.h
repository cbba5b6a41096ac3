// Correlation of planes with small kernels, shared by blur and sharpen.
#pragma once

#include "cpu/images.h"

namespace pyd {
namespace PYD_ISA {

// How many rows of a plane one thread takes: all of them when other planes or images keep the threads busy.
int64_t strip_rows(int64_t height, int64_t planes);

// dst[y][x] = sum of horizontal[i] vertical[j] src[y + j - r][x + i - r] over the rows begin .. end - 1 of a plane;
// horizontal taps first, both ascending, one fused multiply-add per tap. kOutOfMemory when scratch memory cannot grow.
Status correlate_separable(const float* src, int64_t height, int64_t width, const float* horizontal, const float* vertical,
                           int64_t taps, int64_t begin, int64_t end, float* dst);

// The same with a dense kernel of taps x taps weights, row by row.
Status correlate_dense(const float* src, int64_t height, int64_t width, const float* weights, int64_t taps, int64_t begin,
                       int64_t end, float* dst);

// The same for pixels that a reader looks at alone: rows rows[begin] .. rows[end - 1] of what `reads` names, dst has
// row_count x column_count px.
Status correlate_dense_at(const float* src, const Reads& reads, const float* weights, int64_t taps, int64_t begin,
                          int64_t end, float* dst);
Status correlate_separable_at(const float* src, const Reads& reads, const float* horizontal, const float* vertical,
                              int64_t taps, int64_t begin, int64_t end, float* dst);

// Whether these take less time where columns are skipped too and not rows alone: pixels have to be moved for it.
bool pays_to_skip_columns(const Reads& reads, int64_t taps, bool separable);

}  // namespace PYD_ISA
}  // namespace pyd
