#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kRoundBlock = 1 << 14;

// x <- round(255 x) / 255 clipped to [0, 1], half to even as torch.round. NaN becomes 0.
void round_8bit(float* data, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    float level = data[i] * 255.0f;
    level = level > 0.0f ? level : 0.0f;
    level = level < 255.0f ? level : 255.0f;
    // Adding and subtracting 2^23 rounds to the nearest integer, half to even, for 0 <= level <= 2^22.
    level = (level + 8388608.0f) - 8388608.0f;
    data[i] = level / 255.0f;
  }
}

// Whether every value lies in [0, 1]; false for NaN.
bool in_range(const float* data, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += kRoundBlock) {
    const int64_t end = begin + kRoundBlock < count ? begin + kRoundBlock : count;
    int32_t good = 1;
    for (int64_t i = begin; i < end; ++i) good &= (data[i] >= 0.0f) & (data[i] <= 1.0f);
    if (good == 0) return false;
  }
  return true;
}

void clip(const float* src, int64_t count, float* dst) {
  for (int64_t i = 0; i < count; ++i) {
    const float positive = src[i] > 0.0f ? src[i] : 0.0f;
    dst[i] = positive < 1.0f ? positive : 1.0f;
  }
}

Status run_step(const ChainArgs& args, int64_t step, ConstImage src, Image dst) {
  const int64_t item = args.step_item[step];
  switch (args.step_op[step]) {
    case kOpBlur: return blur_image(args.blur, item, src, dst);
    case kOpResize: return resize_image(args.resize, item, src, dst);
    case kOpNoise: return noise_image(args.noise, item, src, dst);
    case kOpJpeg:
      // The models clip before every JPEG. libjpeg mode does so itself; the differentiable modes leave it to their caller.
      if (args.jpeg.mode[item] == kJpegOff || args.jpeg.mode[item] == kJpegLibjpeg) {
        return jpeg_image(args.jpeg, item, src, dst);
      }
      clip(src.data, src.channels * src.height * src.width, dst.data);
      return jpeg_image(args.jpeg, item, {dst.data, dst.channels, dst.height, dst.width}, dst);
    case kOpSharpen: return sharpen_image(args.sharpen, item, src, dst);
    case kOpRain: return rain_image(args.rain, item, src, dst);
    default: return Status::kBadArgument;
  }
}

// Noise, JPEG and rain may work in place; the others need a second buffer.
bool works_in_place(int32_t op) { return op == kOpNoise || op == kOpJpeg || op == kOpRain; }

Status run_row(const ChainArgs& args, int64_t row) {
  const int64_t first = args.step_start[row];
  const int64_t last = args.step_start[row + 1];
  const ConstImage source = row_image(args.src_rows, args.src, row);
  const Image result = row_image(args.dst_rows, args.dst, row);
  const int64_t target_step = args.target == nullptr ? -1 : first + args.target_step[row];

  if (args.check_range != 0 && !in_range(source.data, source.channels * source.height * source.width)) {
    return Status::kBadPixels;
  }

  // Sizes. Two buffers are as large as the largest image that is neither the target nor the result.
  int64_t largest = 0;
  for (int64_t step = first; step < last; ++step) {
    const int64_t pixels = static_cast<int64_t>(args.step_height[step]) * args.step_width[step];
    if (pixels <= 0) return Status::kBadArgument;
    if (step + 1 < last && step + 1 != target_step) largest = pixels > largest ? pixels : largest;
  }
  const int64_t final_height = last > first ? args.step_height[last - 1] : source.height;
  const int64_t final_width = last > first ? args.step_width[last - 1] : source.width;
  if (final_height != result.height || final_width != result.width) return Status::kBadArgument;
  if (target_step > last) return Status::kBadArgument;
  const int64_t target_height = target_step > first ? args.step_height[target_step - 1] : source.height;
  const int64_t target_width = target_step > first ? args.step_width[target_step - 1] : source.width;
  if (target_height != source.height || target_width != source.width) return Status::kBadArgument;
  Scratch scratch;
  float* buffer[2];
  for (float*& memory : buffer) {
    memory = scratch.take<float>(largest * source.channels);
    if (memory == nullptr) return Status::kOutOfMemory;
  }

  // Steps. The one whose image is the target, and the last one, write it where it is wanted. Source and target are only
  // read from then on: `holder` is the buffer that may be overwritten.
  ConstImage image = source;
  int holder = -1;
  if (target_step == first) copy_image(source, row_image(args.src_rows, args.target, row));
  for (int64_t step = first; step < last; ++step) {
    Image out = {nullptr, source.channels, args.step_height[step], args.step_width[step]};
    if (step + 1 == target_step) {
      out.data = row_image(args.src_rows, args.target, row).data;
      holder = -1;
    } else if (step + 1 == last) {
      out.data = result.data;
    } else {
      holder = holder >= 0 && works_in_place(args.step_op[step]) ? holder : (holder == 0 ? 1 : 0);
      out.data = buffer[holder];
    }
    const Status status = run_step(args, step, image, out);
    if (status != Status::kOk) return status;
    image = {out.data, out.channels, out.height, out.width};
  }

  // Result.
  if (image.data != result.data) copy_image(image, result);
  if (args.round_8bit != 0) {
    const int64_t count = result.channels * result.height * result.width;
    parallel_for((count + kRoundBlock - 1) / kRoundBlock, [&](int64_t block) {
      const int64_t begin = block * kRoundBlock;
      round_8bit(result.data + begin, count - begin < kRoundBlock ? count - begin : kRoundBlock);
    });
  }
  return Status::kOk;
}

// About how long a row takes, in ns, so that the longest can begin first: with few rows per thread, a long last one would
// keep the other threads waiting.
double row_cost(const ChainArgs& args, int64_t row) {
  double cost = 0.0;
  for (int64_t step = args.step_start[row]; step < args.step_start[row + 1]; ++step) {
    const int64_t item = args.step_item[step];
    double per_px = 4.0;
    if (args.step_op[step] == kOpSharpen) per_px = 20.0;
    if (args.step_op[step] == kOpBlur) {
      const double size = args.blur.size_px[item];
      per_px = 1.0 + (args.blur.path[item] == kBlurDense ? 0.07 * size * size : 0.2 * size);
    }
    cost += per_px * args.step_height[step] * args.step_width[step];
  }
  return cost;
}

// Sorts `order`, row numbers, by falling cost (Shell's method).
void sort_by_cost(const double* cost, int64_t count, int64_t* order) {
  for (int64_t gap = count / 2; gap > 0; gap /= 2) {
    for (int64_t i = gap; i < count; ++i) {
      const int64_t row = order[i];
      int64_t place = i;
      for (; place >= gap && cost[order[place - gap]] < cost[row]; place -= gap) order[place] = order[place - gap];
      order[place] = row;
    }
  }
}

}  // namespace

Status copy_image(ConstImage src, Image dst) {
  memcpy(dst.data, src.data, static_cast<size_t>(src.channels * src.height * src.width) * sizeof(float));
  return Status::kOk;
}

Status chain_cpu(const ChainArgs& args) {
  const int64_t count = args.src_rows.count;
  Scratch scratch;
  double* const cost = scratch.take<double>(count);
  int64_t* const order = scratch.take<int64_t>(count);
  if (cost == nullptr || order == nullptr) return Status::kOutOfMemory;
  for (int64_t row = 0; row < count; ++row) {
    cost[row] = row_cost(args, row);
    order[row] = row;
  }
  sort_by_cost(cost, count, order);
  prepare_output(args.dst_rows, args.dst);
  if (args.target != nullptr) prepare_output(args.src_rows, args.target);
  return for_each_row(count, [&](int64_t place) { return run_row(args, order[place]); });
}

}  // namespace PYD_ISA
}  // namespace pyd
