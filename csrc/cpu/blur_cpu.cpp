#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status blur_image(const BlurParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status blur_cpu(const BlurArgs&) { return Status::kUnsupported; }
Status blur_adjoint_cpu(const BlurArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
