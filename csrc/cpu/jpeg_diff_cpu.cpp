#include "cpu/jpeg_modes.h"
namespace pyd {
namespace PYD_ISA {
Status diffjpeg_image(const JpegParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status diffjpeg_adjoint(const JpegParams&, int64_t, ConstImage, ConstImage, Image) { return Status::kUnsupported; }
}  // namespace PYD_ISA
}  // namespace pyd
