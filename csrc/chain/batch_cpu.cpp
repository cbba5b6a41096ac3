// Ops by themselves on a packed batch, row by row.

#include "cpu/images.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// All rows are looked at before the first pixel is written.
template <typename Params, typename Run>
Status run_batch(const Batch<Params>& args, bool is_adjoint, const Run& run) {
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    const Size src = row_size(args.src_rows, row), dst = row_size(args.dst_rows, row);
    if (fault_of(args.params, row, is_adjoint ? dst : src, is_adjoint ? src : dst) != nullptr) return Status::kBadArgument;
  }
  prepare_output(args.dst_rows, args.dst);
  return for_each_row(args.src_rows.count, run);
}

}  // namespace

#define PYD_FORWARD_BATCH(name, Name, ...)                                                                                 \
  Status name##_cpu(const Batch<Name##Params>& args) {                                                                     \
    return run_batch(args, false, [&](int64_t row) {                                                                       \
      return name##_image(args.params,                                                                                     \
                          {row, row_image(args.src_rows, args.src, row), row_image(args.dst_rows, args.dst, row), false}); \
    });                                                                                                                    \
  }
PYD_OPS(PYD_FORWARD_BATCH)

#define PYD_ADJOINT_BATCH_OF(name, Name)                                                                            \
  Status name##_adjoint_cpu(const Batch<Name##Params>& args) {                                                      \
    return run_batch(args, true, [&](int64_t row) {                                                                 \
      AdjointUse use = {row, row_image(args.src_rows, args.src, row), {}, row_image(args.dst_rows, args.dst, row)}; \
      if (args.grad != nullptr) use.grad = row_image(args.src_rows, args.grad, row);                                \
      return name##_adjoint_image(args.params, use);                                                                \
    });                                                                                                             \
  }
#define PYD_ADJOINT_BATCH(name, Name, code, adjoint, traits) PYD_IF(adjoint, PYD_ADJOINT_BATCH_OF(name, Name))
PYD_OPS(PYD_ADJOINT_BATCH)

}  // namespace PYD_ISA
}  // namespace pyd
