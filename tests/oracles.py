"""Numbers of the authors' released code on made-up weights and images, stored so that ours stay equal to them.

`python -m tests.oracles FOLDER` stores them anew. FOLDER holds unpacked copies of the releases, whose code is imported from
there and is no part of this repository: `BasicSR` (XPixelGroup, 8d56e3a), `DASR` (csjliang, b2269e4) and `IPT`
(huawei-noah/Pretrained-IPT, 675540e), which it makes work with stubs for what they import and do not need here.

Weights and images are drawn by `pydegrade.named_uniform` from their names, so that nothing large is stored: of every output
some values and its mean. All is computed in float64, where both programs differ by rounding of 1e-16, and stored with all
digits. Small sizes pass through the same lines as the published ones.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pydegrade
from pytrain import nets
from pytrain.methods import losses

GOLDEN = Path(__file__).resolve().parent / "golden" / "oracles.json"
KEPT = 12
"""Values of an output that are stored, spread evenly over it."""

NETS: dict[str, Any] = {
    "srresnet x4": nets.SRResNetConfig(4, 6, 2),
    "srresnet x3": nets.SRResNetConfig(3, 6, 1),
    "edsr x2": nets.EDSRConfig(2, 6, 2, residual_scale=0.3),
    "rcan x3": nets.RCANConfig(3, 16, 1, 2),
    "rrdbnet x4": nets.RRDBNetConfig(4, 6, 1, 4),
    "rrdbnet x2": nets.RRDBNetConfig(2, 6, 1, 4),
    "srvgg x4": nets.SRVGGConfig(4, 6, 2),
    "swinir x2": nets.SwinIRConfig(2, 12, (2,), (2,), window_px=4),
    "unet_discriminator": nets.UNetDiscriminatorConfig(4),
    "dasr x4": nets.DASRConfig(4, 6, 1, 3, predictor_features=4),
    "dasr x2": nets.DASRConfig(2, 6, 1, 3, predictor_features=4),
    "ipt denoise": nets.IPTConfig(("sr-x2", "denoise-30"), (2, 1), 8, patch_px=12, num_heads=2, num_layers=1),
    "ipt x2": nets.IPTConfig(("sr-x2", "denoise-30"), (2, 1), 8, patch_px=12, num_heads=2, num_layers=1),
}


def drawn(name: str, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers that follow from a name, float64, uniform in [low, high)."""
    uniform = pydegrade.named_uniform(0, np.arange(int(np.prod(shape))), name)
    return torch.from_numpy(low + (high - low) * uniform).reshape(shape)


def image(config: Any) -> Tensor:
    """[1, 3, H, W] in [0, 1); H and W are the least that a network takes whole."""
    height, width = {"ipt": (12, 12), "unet_discriminator": (16, 24)}.get(config.type, (12, 8))
    return drawn("image", (1, 3, height, width))


def filled(net: nn.Module) -> nn.Module:
    """Every weight by its name, of a size at which it matters; buffers of whole numbers and constants stay."""
    state = net.state_dict()
    for key, value in state.items():
        if not value.is_floating_point() or "mean" in key or "high_pass" in key:
            continue
        spread = 0.3 if value.ndim < 2 else 1.5 / np.sqrt(value[0].numel())
        middle = 1.0 if value.ndim == 1 and "norm" in key else 0.0
        state[key] = drawn(key, tuple(value.shape), middle - spread, middle + spread)
    net.double().load_state_dict(state)
    return net.eval()


def run(name: str, net: nn.Module) -> Tensor:
    """The output of one of NETS, filled."""
    config = NETS[name]
    x = image(config)
    with torch.no_grad():
        if config.type == "dasr":
            out, vector, shares = net.with_vector(x)  # type: ignore[operator]
            return torch.cat([out.flatten(), vector.flatten(), shares.flatten()])
        if config.type == "ipt":
            task = "denoise-30" if "denoise" in name else "sr-x2"
            out = net(x, task)
        else:
            out = net(x)
        return torch.as_tensor(out)


def summary(values: Tensor | NDArray[np.float64]) -> list[float]:
    """The mean, and KEPT values spread evenly."""
    flat = np.asarray(values, np.float64).ravel()
    places = np.linspace(0, flat.size - 1, min(KEPT, flat.size)).round().astype(int)
    return [float(flat.mean()), *flat[places].tolist()]


# ---- Losses, kernels and metrics: how ours computes them. What the release calls is in `released`.


def logits() -> Tensor:
    """Of a discriminator."""
    return drawn("logits", (2, 1, 5, 4), -3, 3)


def metric_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """[24, 20, 3] RGB, the second one near the first."""
    first = drawn("metric", (24, 20, 3), 0, 255).numpy()
    second = np.clip(first + drawn("metric noise", (24, 20, 3), -20, 20).numpy(), 0, 255)
    return np.rint(first).astype(np.uint8), np.rint(second).astype(np.uint8)


GAN_KINDS = ("vanilla", "lsgan", "hinge")
KERNELS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "gaussian": ("gaussian", (9, 1.7, 0.6, 0.9)),
    "isotropic gaussian": ("gaussian", (7, 1.3)),
    "generalized": ("generalized", (11, 2.1, 1.2, -0.7, 0.8)),
    "plateau": ("plateau", (11, 1.9, 0.9, 2.2, 1.6)),
    "sinc": ("sinc", (9, 1.1)),
}
"""Of Real-ESRGAN: a function of `pydegrade.kernels` and its arguments, size, deviations in px, angle in rad, beta; or the
cut-off frequency."""

OTHERS: dict[str, Callable[[], Any]] = {
    **{f"gan {kind}": lambda kind=kind: _gan(kind) for kind in GAN_KINDS},
    **{f"kernel {name}": lambda name=name: _kernel(name) for name in KERNELS},
    "psnr rgb": lambda: [pydegrade.psnr(*metric_images(), "rgb-uint8-border2").value],
    "psnr y": lambda: [pydegrade.psnr(*metric_images(), "y-unrounded-border2").value],
    "ssim rgb": lambda: [pydegrade.ssim(*metric_images(), "rgb-uint8-border2").value],
    "ssim y": lambda: [pydegrade.ssim(*metric_images(), "y-unrounded-border2").value],
}

TOLERANCES = {"rcan": 1e-7, "gan": 1e-6, "kernel": 3e-7, "psnr y": 1e-6, "ssim y": 1e-7}
"""By how the name begins, where float32 takes part: RCAN's mean colour, our GAN losses, the release's kernels and luma."""


def _gan(kind: str) -> list[float]:
    parts = (losses.gan_generator, losses.gan_real, losses.gan_fake)
    return [float(part(logits(), kind)) for part in parts]  # type: ignore[arg-type]


def _kernel(name: str) -> Any:
    function, arguments = KERNELS[name]
    if function in ("generalized", "plateau"):
        return getattr(pydegrade.kernels, function)(*arguments[:4], beta=arguments[4])
    return getattr(pydegrade.kernels, function)(*arguments)


def ours(name: str) -> list[float]:
    """What our code gives for a stored answer."""
    return summary(run(name, filled(nets.build(NETS[name]))) if name in NETS else OTHERS[name]())


def tolerance(name: str) -> float:
    """Largest difference that is rounding, relative to the largest value."""
    return next((allowed for start, allowed in TOLERANCES.items() if name.startswith(start)), 1e-12)


def stored() -> dict[str, list[float]]:
    """The release's answers."""
    found: dict[str, list[float]] = json.loads(GOLDEN.read_text())
    return found


# ---- The releases

UNUSED: dict[str, dict[str, Any]] = {
    "basicsr.utils": {"get_root_logger": None},
    "torchvision": {"__version__": "0.28.0"},
    "torchvision.transforms": {},
    "torchvision.transforms.functional": {"rgb_to_grayscale": None},
}
"""What their modules import and no answer needs."""


def _package(name: str, folder: Path) -> None:
    """Let a package's modules be found without running its __init__."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def _dasr_and_basicsr(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Modules of the two, which share the name basicsr."""
    found = []
    wanted = {
        "DASR": ("archs.degradation_prediction_arch", "archs.srresnetdynamic_arch"),
        "BasicSR": (
            "archs.srresnet_arch", "archs.edsr_arch", "archs.rcan_arch", "archs.rrdbnet_arch", "archs.srvgg_arch",
            "archs.swinir_arch", "archs.discriminator_arch", "losses.gan_loss", "data.degradations", "metrics.psnr_ssim",
        ),
    }  # fmt: skip
    for repository, names in wanted.items():
        for name in [name for name in sys.modules if name.partition(".")[0] == "basicsr"]:
            del sys.modules[name]
        place = folder / repository / "basicsr"
        for package in ("", ".archs", ".losses", ".data", ".metrics", ".utils"):
            _package(f"basicsr{package}", place / package.strip("."))
        for name, attributes in UNUSED.items():
            sys.modules.setdefault(name, types.ModuleType(name)).__dict__.update(attributes)
        if repository == "BasicSR":
            colours = importlib.import_module("basicsr.utils.color_util")
            sys.modules["basicsr.utils"].__dict__["bgr2ycbcr"] = colours.bgr2ycbcr
        found.append({name.rpartition(".")[2]: importlib.import_module(f"basicsr.{name}") for name in names})
    return found[0], found[1]


def released(folder: Path) -> dict[str, list[float]]:
    """The answers of the released code."""
    dasr, basicsr = _dasr_and_basicsr(folder)
    sys.path.insert(0, str(folder / "IPT"))
    ipt = importlib.import_module("model.ipt")

    def ipt_net(config: nets.IPTConfig) -> nn.Module:
        return ipt.ipt(types.SimpleNamespace(
            n_feats=config.num_features, rgb_range=255, n_colors=3, scale=list(config.scales), patch_size=config.patch_px,
            patch_dim=config.token_px, num_heads=config.num_heads, num_layers=config.num_layers,
            num_queries=len(config.tasks), dropout_rate=0, no_mlp=False, pos_every=False, no_pos=False, no_norm=False,
        ))  # fmt: skip

    makers: dict[str, Callable[[Any], nn.Module]] = {
        "srresnet": lambda c: basicsr["srresnet_arch"].MSRResNet(3, 3, c.num_features, c.num_blocks, c.scale),
        "edsr": lambda c: basicsr["edsr_arch"].EDSR(
            3, 3, c.num_features, c.num_blocks, c.scale, c.residual_scale, 255.0, (0.4488, 0.4371, 0.4040)
        ),
        "rcan": lambda c: basicsr["rcan_arch"].RCAN(3, 3, c.num_features, c.num_groups, c.num_blocks, 16, c.scale),
        "rrdbnet": lambda c: basicsr["rrdbnet_arch"].RRDBNet(3, 3, c.scale, c.num_features, c.num_blocks, c.growth),
        "srvgg": lambda c: basicsr["srvgg_arch"].SRVGGNetCompact(3, 3, c.num_features, c.num_convs, c.scale, "prelu"),
        "swinir": lambda c: basicsr["swinir_arch"].SwinIR(
            img_size=12, depths=c.depths, num_heads=c.num_heads, embed_dim=c.embed_dim, window_size=c.window_px,
            mlp_ratio=2, upscale=c.scale, img_range=1.0, upsampler="pixelshuffle", resi_connection="1conv",
        ),
        "unet_discriminator": lambda c: basicsr["discriminator_arch"].UNetDiscriminatorSN(3, c.num_features),
        "ipt": ipt_net,
    }  # fmt: skip
    answers = {}
    for name, config in NETS.items():
        x = image(config)
        with torch.no_grad():
            if config.type == "dasr":
                predictor = dasr["degradation_prediction_arch"].Degradation_Predictor(
                    3, config.predictor_features, 33, config.num_experts
                )
                generator = dasr["srresnetdynamic_arch"].MSRResNetDynamic(
                    3, 3, config.num_features, config.num_blocks, config.num_experts, config.scale
                )
                _same_weights(config, {"predictor.": predictor, "generator.": generator})
                vector, shares = predictor(x)
                answers[name] = summary(torch.cat([one.flatten() for one in (generator(x, shares), vector, shares)]))
                continue
            net = makers[config.type](config)
            _same_weights(config, {"": net})
            if config.type == "ipt":
                net.scale_idx = 1 if "denoise" in name else 0  # type: ignore[assignment]
                answers[name] = summary(net(255 * x) / 255)
            else:
                answers[name] = summary(net(x))
    for kind in GAN_KINDS:
        gan = basicsr["gan_loss"].GANLoss(kind)
        parts = ((True, False), (True, True), (False, True))
        answers[f"gan {kind}"] = summary(np.array([float(gan(logits(), *part)) for part in parts]))
    made = basicsr["degradations"]
    for name, (kind, arguments) in KERNELS.items():
        if kind == "sinc":
            kernel = made.circular_lowpass_kernel(arguments[1], arguments[0], pad_to=0)
        else:
            function = {"gaussian": "Gaussian", "generalized": "generalized_Gaussian", "plateau": "plateau"}[kind]
            size, first, second, angle, *beta = (*arguments, arguments[1], 0.0)[: max(4, len(arguments))]
            isotropic = {"isotropic": len(arguments) == 2}
            kernel = getattr(made, f"bivariate_{function}")(size, first, second, angle, *beta, **isotropic)
        answers[f"kernel {name}"] = summary(kernel)
    first, second = (np.ascontiguousarray(one[..., ::-1]) for one in metric_images())
    for metric in ("psnr", "ssim"):
        measure = getattr(basicsr["psnr_ssim"], f"calculate_{metric}")
        for colours, luma in (("rgb", False), ("y", True)):
            answers[f"{metric} {colours}"] = summary(np.array([measure(first, second, 2, "HWC", luma)]))
    return answers


def _same_weights(config: Any, parts: Mapping[str, nn.Module]) -> None:
    """Give the release's network the numbers that ours has under the same keys, or under the keys that ours translates."""
    own = filled(nets.build(config)).state_dict()
    states = {prefix: net.state_dict() for prefix, net in parts.items()}
    keys = [prefix + key for prefix, state in states.items() for key in state]
    # Numbered tensors in the release's shapes show where the translation puts each of them.
    marked = {
        prefix + key: torch.full(value.shape, float(keys.index(prefix + key)))
        for prefix, state in states.items()
        for key, value in state.items()
    }
    translated = nets.canonical(config, marked).items()
    place = {keys[int(value.flatten()[0])]: key for key, value in translated if "_mean." not in key}
    for prefix, net in parts.items():
        state = states[prefix]
        for key in state:
            if place.get(prefix + key) in own:
                state[key] = own[place[prefix + key]].reshape(state[key].shape)
        net.double().load_state_dict(state)
        net.eval()


def main() -> None:
    """Store the answers of the releases in a folder."""
    found = released(Path(sys.argv[1]))
    for name, values in found.items():
        print(f"{name:24} {np.abs(np.subtract(values, ours(name))).max():.1e}")
    GOLDEN.write_text(
        "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(values)}" for name, values in found.items()) + "\n}\n"
    )


if __name__ == "__main__":
    main()
