// The tables of imresize for callers that apply them elsewhere.
#pragma once

#include <cstdint>

#include "core/status.h"

namespace pyd {

// One axis: output j sums weight[k] * input[index[k]] over k in [start[j], start[j + 1]), ascending. start has out_px + 1
// places, index and weight `room` each. kBadArgument when they do not suffice or sizes are out of range.
Status imresize_taps(int32_t mode, bool antialias, bool replicate, int64_t in_px, int64_t out_px, double scale,
                     int64_t room, int32_t* start, int32_t* index, double* weight);

}  // namespace pyd
