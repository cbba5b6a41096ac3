#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status noise_image(const NoiseParams&, int64_t, ConstImage, Image) { return Status::kUnsupported; }
Status noise_cpu(const NoiseArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
