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

  if (args.check_range != 0 && !in_range(source.data, source.channels * source.height * source.width)) {
    return Status::kBadPixels;
  }

  // Two buffers as large as the largest image in the chain.
  int64_t largest = source.height * source.width;
  for (int64_t step = first; step < last; ++step) {
    const int64_t pixels = static_cast<int64_t>(args.step_height[step]) * args.step_width[step];
    if (pixels <= 0) return Status::kBadArgument;
    largest = pixels > largest ? pixels : largest;
  }
  Scratch scratch;
  float* buffer[2];
  for (float*& memory : buffer) {
    memory = scratch.take<float>(largest * source.channels);
    if (memory == nullptr) return Status::kOutOfMemory;
  }

  // Steps. The source itself is never written to.
  ConstImage image = source;
  int holder = -1;
  auto take_target = [&](int64_t steps_done) {
    if (args.target == nullptr || args.target_step[row] != steps_done) return Status::kOk;
    const Image target = row_image(args.src_rows, args.target, row);
    if (image.height != target.height || image.width != target.width) return Status::kBadArgument;
    return copy_image(image, target);
  };
  Status status = take_target(0);
  for (int64_t step = first; step < last && status == Status::kOk; ++step) {
    const int next = holder >= 0 && works_in_place(args.step_op[step]) ? holder : (holder == 0 ? 1 : 0);
    const Image out = {buffer[next], source.channels, args.step_height[step], args.step_width[step]};
    status = run_step(args, step, image, out);
    image = {out.data, out.channels, out.height, out.width};
    holder = next;
    if (status == Status::kOk) status = take_target(step - first + 1);
  }
  if (status != Status::kOk) return status;

  // Result.
  if (image.height != result.height || image.width != result.width) return Status::kBadArgument;
  status = copy_image(image, result);
  if (status == Status::kOk && args.round_8bit != 0) {
    const int64_t count = result.channels * result.height * result.width;
    parallel_for((count + kRoundBlock - 1) / kRoundBlock, [&](int64_t block) {
      const int64_t begin = block * kRoundBlock;
      round_8bit(result.data + begin, count - begin < kRoundBlock ? count - begin : kRoundBlock);
    });
  }
  return status;
}

}  // namespace

Status copy_image(ConstImage src, Image dst) {
  memcpy(dst.data, src.data, static_cast<size_t>(src.channels * src.height * src.width) * sizeof(float));
  return Status::kOk;
}

Status chain_cpu(const ChainArgs& args) {
  return for_each_row(args.src_rows.count, [&](int64_t row) { return run_row(args, row); });
}

}  // namespace PYD_ISA
}  // namespace pyd
