"""Blur and its kernels against float64 formulas, BasicSR's and KAIR's numbers, and their laws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import kernels, ops
from pydegrade.ops.psf import COLUMNS, SHAPES, blur_params, full_kernels

from .devices import TensorFunction, on_device
from .reference import blur as reference

PARAMETERS = [
    ("delta", 7, {}),
    ("iso", 7, {"sigma_x": 0.3}),
    ("iso", 21, {"sigma_x": 3.0}),
    ("aniso", 21, {"sigma_x": 3.0, "sigma_y": 0.6, "angle": 0.7}),
    ("aniso", 51, {"sigma_x": 9.0, "sigma_y": 2.0, "angle": -3.1}),
    ("generalized_iso", 15, {"sigma_x": 0.9, "beta": 0.5}),
    ("generalized_aniso", 13, {"sigma_x": 0.8, "sigma_y": 1.7, "angle": 2.2, "beta": 3.9}),
    ("plateau_iso", 9, {"sigma_x": 1.5, "beta": 1.0}),
    ("plateau_aniso", 17, {"sigma_x": 0.2, "sigma_y": 2.9, "angle": 1.1, "beta": 1.9}),
    ("sinc", 7, {"cutoff": 1.05}),
    ("sinc", 21, {"cutoff": 0.63}),
    ("sinc", 51, {"cutoff": 3.14}),
]
NAMES = {"sigma_x_px": "sigma_x", "sigma_y_px": "sigma_y", "angle_rad": "angle", "beta": "beta", "cutoff_rad": "cutoff"}
DEFAULTS = {"sigma_x": 1.0, "sigma_y": 1.0, "angle": 0.0, "beta": 1.0, "cutoff": 1.0}


@pytest.fixture
def blur(device: torch.device) -> TensorFunction:
    return on_device(ops.blur, device)


@pytest.fixture
def sharpen(device: torch.device) -> TensorFunction:
    return on_device(ops.sharpen, device)


def columns(parameters, shift=0.0):
    """Blur columns of several kernels, as tasks hold them."""
    values = {name: [{**DEFAULTS, **p}[short] for _, _, p in parameters] for name, short in NAMES.items()}
    values |= {
        "shape": [SHAPES.index(shape) for shape, _, _ in parameters],
        "size_px": [size for _, size, _ in parameters],
    }
    values["shift_px"] = [shift] * len(parameters)
    values |= {"radius_px": [0.0] * len(parameters), "blades": [6] * len(parameters)}
    return {name: np.array(values[name]) for name in COLUMNS}


def rounded(p):
    """Parameters as float32 columns hold them."""
    return {name: float(np.float32(value)) for name, value in p.items()}


def test_kernels_equal_the_formulas():
    for (shape, size, p), made in zip(PARAMETERS, full_kernels(columns(PARAMETERS))):
        expected = reference.kernel(shape, size, **rounded(p))
        # Elementary functions are good to 1e-15 relative; J1 to 1e-14 absolute, enlarged by the sum of sinc kernels.
        assert np.abs(made - expected).max() < 2e-14, shape
        assert abs(made.sum() - 1) < 1e-14


# Radii and angles at which no place lies on an edge, where the last bit decides.
@pytest.mark.representatives(8)
@pytest.mark.parametrize("size", [1, 5, 21, 51])
@pytest.mark.parametrize("radius", [0.0, 0.3, 1.7, 2.531, 9.123, 25.0])
@pytest.mark.parametrize("angle", [0.0, 0.7331, -2.9])
def test_apertures_equal_the_share_of_pixels_that_they_cover(size, radius, angle):
    radius, angle = float(np.float32(radius)), float(np.float32(angle))
    for made, expected in (
        (kernels.box(radius, angle, size), reference.aperture("box", size, radius, angle)),
        (kernels.disk(radius, size), reference.aperture("disk", size, radius)),
        *(
            (kernels.polygon(radius, blades, angle, size), reference.aperture("polygon", size, radius, angle, blades))
            for blades in (3, 5, 8, 12)
        ),
        (kernels.motion(2 * radius, angle, size), reference.aperture("motion", size, radius, angle)),
    ):
        # One place of the 64 of a pixel may lie on an edge and fall to either side.
        assert np.abs(made - expected).max() <= 1 / 64 / max(1.0, min(radius, size / 2) ** 2) + 1e-12
        assert abs(made.sum() - 1) < 1e-12
    assert len(kernels.disk(radius)) >= 2 * radius


def test_a_box_is_opencv_s_and_a_motion_averages_along_its_line():
    import cv2

    image = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    made = ops.blur(image, shape="box", size_px=7, radius_px=2.5)[0, 0].numpy()
    assert np.abs(made - cv2.blur(image[0, 0].numpy(), (5, 5), borderType=cv2.BORDER_REFLECT_101)).max() < 1e-6
    line = kernels.motion(9.0)
    assert line.shape == (9, 9)
    assert np.allclose(line[4], 1 / 9)
    assert np.allclose(np.delete(line, 4, axis=0), 0)


def test_moved_kernels_equal_bilinear_samples():
    parameters = [("iso", 25, {"sigma_x": sigma}) for sigma in (0.3, 1.2, 2.4)]
    for shift in (0.5, 1.5):
        for (shape, size, p), made in zip(parameters, full_kernels(columns(parameters, shift))):
            expected = reference.moved(reference.kernel(shape, size, **rounded(p)), shift)
            assert np.abs(made - expected).max() < 1e-13


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [[1], [1, 21], [21, 1], [1, 1, 3]])
def test_a_kernel_of_one_tap_is_the_identity_in_any_row(shape, sizes, device):
    images = torch.rand(len(sizes), 3, 9, 11, device=device)
    out = ops.blur(images, shape=shape, size_px=sizes, sigma_x_px=1.5, radius_px=1.5)
    for row, size in enumerate(sizes):
        assert torch.equal(out[row], images[row]) == (size == 1 or shape == "delta")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", ">u2"])
def test_kernel_files_of_any_byte_order_are_read(tmp_path, dtype):
    values = np.arange(1, 10).reshape(3, 3).astype(dtype)
    np.save(tmp_path / "k.npy", values / values.sum() if dtype != ">u2" else np.diag([0, 1, 0]).astype(dtype))
    kernel = kernels.load(tmp_path / "k.npy")
    assert kernel.dtype == np.dtype(np.float64)
    assert kernel.dtype.isnative
    assert abs(kernel.sum() - 1) < 1e-6


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3",
        "{",
        "\x00",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000001, 1000000000001), }",
    ],
)
def test_a_kernel_file_with_a_damaged_header_is_one_line(tmp_path, header):
    text = header.encode().ljust(117) + b"\n"
    (tmp_path / "k.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(72))
    with pytest.raises(pydegrade.KernelError, match=r"k\.npy: not a NumPy file of numbers") as caught:
        kernels.load(tmp_path / "k.npy")
    assert "\n" not in str(caught.value)


def test_kernels_equal_basicsr(shared):
    cases = json.loads((shared / "golden/basicsr_kernels.json").read_text())
    arrays = np.load(shared / "golden/basicsr_kernels.npz")
    for name, case in cases.items():
        expected, size = arrays[name], case["kernel_size"]
        if case["function"] == "circular_lowpass_kernel":
            made = kernels.sinc(size, case["cutoff"])
            edge = (len(expected) - size) // 2
            made = np.pad(made, edge)
        else:
            function = {
                "bivariate_Gaussian": kernels.gaussian,
                "bivariate_generalized_Gaussian": kernels.generalized,
                "bivariate_plateau": kernels.plateau,
            }[case["function"]]
            turned = {} if case["isotropic"] else {"sigma_y_px": case["sig_y"], "angle_rad": case["theta"]}
            made = function(size, case["sig_x"], **turned, **({"beta": case["beta"]} if "beta" in case else {}))
        # Parameters pass through float32, which moves them by up to 6e-8 relative.
        assert np.abs(made - expected).max() < 3e-7, name


def test_kair_gaussians(shared):
    cases = json.loads((shared / "golden/kair_ops.json").read_text())
    arrays = np.load(shared / "golden/kair_ops.npz")
    for name in ("an0", "an1"):
        case = cases[name]
        made = kernels.gaussian(case["ksize"], np.sqrt(case["l1"]), np.sqrt(case["l2"]), case["theta"])
        assert np.abs(made - arrays[name]).max() < 3e-7


@pytest.mark.parametrize("border", ["reflect_101", "symmetric"])
@pytest.mark.parametrize("size", [3, 7, 21])
def test_every_small_image_equals_float64(blur, size, border):
    generator = np.random.default_rng(size)
    kernel = generator.uniform(-0.5, 1, (size, size))
    kernel = (kernel / np.abs(kernel).sum()).astype(np.float32)
    for height in range(1, 10):
        for width in range(1, 10):
            image = generator.uniform(size=(2, height, width)).astype(np.float32)
            made = blur(torch.from_numpy(image)[None], kernel, border=border)[0].numpy()
            expected = [reference.blur(plane.astype(float), kernel.astype(float), border) for plane in image]
            # Up to 441 roundings of partial sums below 1: 441 ulp in the worst case, a few in practice.
            assert np.abs(made - expected).max() < 5e-7


@pytest.mark.parametrize(("height", "width"), [(1, 400), (400, 1), (37, 161), (130, 81)])
def test_odd_sizes_and_all_shapes_equal_float64(height, width):
    generator = np.random.default_rng(height)
    image = generator.uniform(size=(1, 1, height, width)).astype(np.float32)
    batch = torch.from_numpy(np.repeat(image, len(PARAMETERS), 0))
    params = blur_params(columns(PARAMETERS))
    layout = pydegrade.native.packed.dense_layout(batch)
    tensors = [torch.from_numpy(values) for values in (layout.offset, layout.height, layout.width, *params.values())]
    made = torch.ops.pydegrade.blur(batch, *tensors[:3], 1, *tensors[3:]).numpy()
    for row, (shape, size, p) in enumerate(PARAMETERS):
        expected = reference.blur(image[0, 0].astype(float), reference.kernel(shape, size, **rounded(p)))
        # Trimming leaves out 1e-7 of the weight at most; the rest is float32 rounding of one sum of size^2 products, which
        # grows like its square root times half an ulp of 0.5 a step: 3e-8 x size, four times that in the worst of pixels.
        assert np.abs(made[row, 0] - expected).max() < 2e-7 + 1.2e-7 * size, shape


def test_filter2d_of_basicsr(blur, shared):
    arrays = np.load(shared / "golden/basicsr_ops.npz")
    made = 0
    image = torch.from_numpy(arrays["crop_u8"].astype(np.float32) / 255).permute(2, 0, 1)[None]
    stored = np.load(shared / "golden/basicsr_kernels.npz")
    for name in arrays.files:
        if not name.startswith("filter2D"):
            continue
        kernel = next((stored[key] for key in stored.files if name.endswith(key)), None)
        if kernel is None:
            continue
        made += 1
        result = blur(image, kernel.astype(np.float32))
        expected = torch.from_numpy(arrays[name]).reshape(result.shape)
        # Two float32 sums of 441 products in different order.
        assert float((result - expected).abs().max()) < 2e-6, name
    assert made > 0


def test_trimming_keeps_the_paths_and_the_weight():
    params = blur_params(columns(PARAMETERS))
    for row, (shape, size, p) in enumerate(PARAMETERS):
        kept, path = params["size_px"][row], params["path"][row]
        assert kept <= size
        assert path == {"delta": 0, "iso": 1}.get(shape, 2)
        full = reference.kernel(shape, size, **rounded(p))
        edge = (size - kept) // 2
        assert np.abs(full).sum() - np.abs(full[edge : size - edge, edge : size - edge]).sum() <= 1.0001e-7


def test_laws(blur):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 40, 52, generator=generator)
    made = blur(images, shape="aniso", size_px=[7, 9, 21, 11, 51], sigma_x_px=2.0, sigma_y_px=0.7, angle_rad=0.3)
    alone = blur(images[2:3], shape="aniso", size_px=21, sigma_x_px=2.0, sigma_y_px=0.7, angle_rad=0.3)
    assert torch.equal(made[2:3], alone)
    constant = blur(torch.full((1, 1, 9, 9), 0.37), shape="iso", size_px=21, sigma_x_px=4.0)
    assert float((constant - 0.37).abs().max()) < 1e-6  # float32 weights sum to 1 within 21 roundings
    assert torch.equal(blur(images, shape="delta"), images)
    one = torch.zeros(1, 1, 9, 9)
    one[0, 0, 4, 4] = 1
    kernel = np.arange(9, dtype=np.float32).reshape(3, 3)
    # Correlation, not convolution: an impulse shows the kernel turned round.
    assert np.array_equal(blur(one, kernel)[0, 0, 3:6, 3:6].numpy(), kernel[::-1, ::-1])


def test_borders_belong_to_their_rows_and_threads_change_no_bit(blur):
    images = torch.rand(4, 3, 61, 70, generator=torch.Generator().manual_seed(2))
    options = {"shape": ["iso", "aniso", "iso", "aniso"], "size_px": 15, "sigma_x_px": 2.0, "sigma_y_px": 1.1}
    borders = ["symmetric", "symmetric", "reflect_101", "reflect_101"]
    once = blur(images, **options, border=borders)
    for name in ("symmetric", "reflect_101"):
        rows = [row for row in range(4) if borders[row] == name]
        assert torch.equal(blur(images, **options, border=name)[rows], once[rows])
    inner = (slice(None), slice(None), slice(7, -7), slice(7, -7))
    assert torch.equal(blur(images, **options, border="reflect_101")[inner], once[inner])
    for threads in (1, 2, 5):
        pydegrade.set_num_threads(threads)
        for row in range(4):
            one = {**options, "shape": options["shape"][row]}
            assert torch.equal(blur(images[row : row + 1], **one, border=borders[row]), once[row : row + 1])
    pydegrade.set_num_threads(None)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_bit(blur, threads):
    images = torch.rand(3, 3, 90, 70, generator=torch.Generator().manual_seed(1))
    pydegrade.set_num_threads(1)
    once = blur(images, shape="sinc", size_px=21, cutoff_rad=1.3)
    round_ = blur(images[:1], shape="iso", size_px=51, sigma_x_px=6.0)
    pydegrade.set_num_threads(threads)
    assert torch.equal(blur(images, shape="sinc", size_px=21, cutoff_rad=1.3), once)
    assert torch.equal(blur(images[:1], shape="iso", size_px=51, sigma_x_px=6.0), round_)
    pydegrade.set_num_threads(None)


@pytest.mark.parametrize(("height", "width", "size"), [(1, 1, 5), (3, 2, 7), (12, 17, 9), (30, 20, 21)])
@pytest.mark.parametrize("border", ["reflect_101", "symmetric"])
@pytest.mark.parametrize("shape", ["iso", "aniso"])
def test_adjoint(blur, height, width, size, shape, border):
    generator = torch.Generator().manual_seed(height)
    x = torch.rand(2, 2, height, width, generator=generator, requires_grad=True)
    y = torch.rand(2, 2, height, width, generator=generator)
    out = blur(x, shape=shape, size_px=size, sigma_x_px=1.7, sigma_y_px=0.8, angle_rad=0.5, border=border)
    (gradient,) = torch.autograd.grad(out, x, y)
    left = float((out.detach().double() * y.double()).sum())
    right = float((x.detach().double() * gradient.double()).sum())
    assert abs(left - right) < 1e-5 * max(1.0, abs(left))  # float32 sums of a few hundred terms each


@pytest.mark.slow
def test_opcheck():
    images = torch.rand(2, 3, 8, 9, requires_grad=True)
    params = blur_params(columns([PARAMETERS[2], PARAMETERS[3]]))
    layout = pydegrade.native.packed.dense_layout(images)
    tensors = [torch.from_numpy(values) for values in (layout.offset, layout.height, layout.width, *params.values())]
    torch.library.opcheck(torch.ops.pydegrade.blur, (images, *tensors[:3], 3, *tensors[3:]))
    sharpen = [torch.tensor([0.5, 0.0]), torch.tensor([50, 3], dtype=torch.int32), torch.tensor([10.0, 1.0])]
    torch.library.opcheck(torch.ops.pydegrade.sharpen, (images.detach(), *tensors[:3], 3, *sharpen))


@pytest.mark.slow
@pytest.mark.parametrize(("radius", "threshold", "weight"), [(50, 10.0, 0.5), (7, 3.0, 1.5), (3, 2.0, 0.5)])
def test_sharpen_equals_float64(sharpen, photographs, radius, threshold, weight):
    for image in [photographs[0][:, :61, :47], photographs[1][:, :5, :90], photographs[2][:, :1, :1]]:
        made = sharpen(image[None].contiguous(), weight, radius, threshold)[0].numpy()
        expected = np.stack(
            [reference.sharpen(plane.astype(float), weight, radius, threshold) for plane in image.numpy()]
        )
        difference = np.abs(made - expected)
        # A residual within float32 rounding of the threshold may fall on the other side and move the soft mask by the
        # largest weight of the kernel; such pixels are rare. Everything else agrees to rounding.
        assert np.median(difference) < 1e-6
        assert (difference > 2e-6).mean() < 0.02
        assert difference.max() < 0.02


def test_sharpen_equals_basicsr(sharpen, shared):
    arrays = np.load(shared / "golden/basicsr_ops.npz")
    image = torch.from_numpy(arrays["crop_u8"].astype(np.float32) / 255).permute(2, 0, 1)[None]
    made = sharpen(image.contiguous())[0].numpy()
    # As above: pixels at the threshold.
    assert np.abs(made - arrays["usm_torch"].reshape(made.shape)).max() < 3e-3
    assert np.median(np.abs(made - arrays["usm_torch"].reshape(made.shape))) < 1e-6
    assert torch.equal(sharpen(image.contiguous(), weight=0.0), image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.blur(x, shape="iso", size_px=8), "blur: size_px must be odd, got 8 at row 0"),
        (
            lambda x: ops.blur(x, shape="iso", sigma_x_px=[1.0, -1.5]),
            "sigma_x_px must be in [0, 20], got -1.5 at row 1",
        ),
        (lambda x: ops.blur(x, shape="iso", sigma_x_px=float("nan")), "sigma_x_px must be in [0, 20], got nan"),
        (lambda x: ops.blur(x, shape="gauss"), "shape must be one of 'delta', 'iso'"),
        (
            lambda x: ops.blur(x, shape="iso", border="wrap"),
            "blur: border must be one of 'reflect_101', 'symmetric', got 'wrap'",
        ),
        (lambda x: ops.blur(x), "expected either kernels or shape"),
        (lambda x: ops.blur(x, np.ones((4, 4))), "a kernel must be [k, k] with k odd, 1 to 51, got [4, 4] at row 0"),
        (lambda x: ops.blur(x, [np.ones((3, 3))]), "expected one kernel or 2, got 1"),
        (lambda x: ops.blur(x.double(), shape="iso"), "images must be float32 in [0, 1], got torch.float64"),
        (lambda x: ops.blur(x[0], shape="iso"), "images must be [B, C, H, W] with C, H, W >= 1, got shape [3, 8, 8]"),
        (lambda x: ops.sharpen(x, radius_px=101), "sharpen: radius_px must be in [0, 100], got 101"),
        (lambda x: kernels.gaussian(4, 1.0), "kernels: size_px must be odd and in 1..51, got 4"),
        (lambda x: kernels.sinc(7, 4.0), "kernels: cutoff_rad must be in [1e-4, pi], got 4"),
        (lambda x: kernels.sinc(7, 1e-320), "kernels: cutoff_rad must be in [1e-4, pi], got"),
        (lambda x: kernels.plateau(7, 1.0, beta=0.0), "kernels: beta must be > 0, got 0"),
    ],
)
def test_messages(call, message, device):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(torch.rand(2, 3, 8, 8).to(device))
    assert message in str(caught.value)
