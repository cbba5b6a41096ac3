#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status sharpen_image(const SharpenParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status sharpen_cpu(const SharpenArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
