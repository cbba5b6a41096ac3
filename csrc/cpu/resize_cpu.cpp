#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status resize_image(const ResizeParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status resize_cpu(const ResizeArgs&) { return Status::kUnsupported; }
Status resize_adjoint_cpu(const ResizeArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
