"""The estimate of a blur kernel: exact spectra give the kernel back, photographs come near it, other input is refused."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

import pydegrade
from pydegrade import KernelError, estimate_kernel, kernels
from pydegrade.images.kernel_estimate import SPECTRUM_EXPONENT

KINDS = ((1.0, 1.0, 0.0), (2.0, 1.0, -0.5), (1.2, 1.8, 0.9))


def covariance(sigma_x_px, sigma_y_px, angle_rad):
    turn = np.array([[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]])
    return turn @ np.diag([sigma_x_px**2, sigma_y_px**2]) @ turn.T


def power_law(side, seed):
    """A picture of random phases whose power is |f|^-SPECTRUM_EXPONENT."""
    frequency = np.fft.fftfreq(side)
    distance = np.hypot(*np.meshgrid(frequency, frequency))
    distance[0, 0] = np.inf
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=(side, side)))
    return np.real(np.fft.ifft2(noise * distance ** (-SPECTRUM_EXPONENT / 2)))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_with_the_assumed_spectrum_gives_its_kernel(kind, scale):
    sigma_x_px, sigma_y_px, angle_rad = kind[0] * scale / 2, kind[1] * scale / 2, kind[2]
    kernel = kernels.gaussian(25, sigma_x_px, sigma_y_px, angle_rad)
    lr = pydegrade.blur_down(power_law(720, 5), kernel, scale)
    found = estimate_kernel(lr, scale)
    # Aliasing of what the blur leaves and Welch's finite count: 0.031 low-resolution pixels squared at most were seen.
    expected = covariance(sigma_x_px, sigma_y_px, angle_rad)
    assert np.abs(covariance(found.sigma_x_px, found.sigma_y_px, found.angle_rad) - expected).max() < 0.05 * scale**2
    assert found.sigma_x_px >= found.sigma_y_px
    assert np.array_equal(
        found.kernel, kernels.gaussian(len(found.kernel), found.sigma_x_px, found.sigma_y_px, found.angle_rad)
    )


def test_bicubic_subsampling_is_taken_out():
    kernel = kernels.gaussian(15, 1.5)
    lr = pydegrade.blur_down(power_law(480, 3), kernel, 2, "bicubic")
    found, without = (estimate_kernel(lr, 2, down) for down in ("bicubic", "direct"))
    error, worse = (abs(one.sigma_x_px * one.sigma_y_px - 1.5**2) for one in (found, without))
    # 0.006 and 0.43 px^2 were seen: nearly all of what the filter does is taken out.
    assert error < 0.05
    assert worse > 0.3


@pytest.mark.slow
def test_photographs_come_near_their_kernel():
    """Content has a spectrum of its own, which no image of one size can be rid of; so bounds on the mean, not on each."""
    errors = []
    for image in (data.chelsea(), data.coffee(), data.astronaut(), data.rocket()):
        for kind in KINDS:
            found = estimate_kernel(pydegrade.blur_down(image, kernels.gaussian(15, *kind), 2), 2)
            difference = covariance(found.sigma_x_px, found.sigma_y_px, found.angle_rad) - covariance(*kind)
            errors.append(np.abs(difference).max())
    # 0.58 px^2 was seen; to guess the mean of KINDS for all of them costs 0.95.
    assert np.mean(errors) < 0.7


def test_gray_colour_and_scale_of_values_do_not_matter():
    image = data.coffee()[:128, :160]
    found = estimate_kernel(image, 2)
    gray = estimate_kernel(image.astype(np.float64).mean(2) / 255, 2)
    assert (gray.sigma_x_px, gray.angle_rad) == pytest.approx((found.sigma_x_px, found.angle_rad), rel=1e-9)
    sideways = estimate_kernel(np.ascontiguousarray(image.transpose(1, 0, 2)), 2)
    assert sideways.sigma_x_px == pytest.approx(found.sigma_x_px, rel=1e-9)


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(KernelError, match=r"sides of at least 32 px, got \[31, 40\]"):
        estimate_kernel(np.zeros((31, 40)), 2)
    with pytest.raises(KernelError, match="no texture to estimate a kernel from"):
        estimate_kernel(np.full((64, 64, 3), 200, np.uint8), 2)
    with pytest.raises(KernelError, match=r"scale must be a whole number in 1\.\.64, got 0"):
        estimate_kernel(np.zeros((64, 64)), 0)
