#include "cpu/image_ops.h"

namespace pyd {
namespace PYD_ISA {

Status psf_cpu(const PsfArgs&) { return Status::kUnsupported; }

}  // namespace PYD_ISA
}  // namespace pyd
