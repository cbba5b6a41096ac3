#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status jpeg_image(const JpegParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status jpeg_cpu(const JpegArgs&) { return Status::kUnsupported; }
Status jpeg_adjoint_cpu(const JpegAdjointArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
