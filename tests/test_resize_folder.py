"""`degrade resize`: benchmark sets made again, trees, bad files, interruption; and the messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import pydegrade
from pydegrade.commands import cli
from pydegrade.commands.actions import resize
from pydegrade.commands.actions.resize import plan_resize, whole_shrinkage
from pydegrade.commands.resize import parse_scale


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in ("resize", *arguments)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def save(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    save(tmp_path / "in/cat.png", data.chelsea()[:61, :82])
    save(tmp_path / "in/deep/er/coffee.PNG", data.coffee()[:40, :48])
    save(tmp_path / "in/gray.png", data.camera()[:30, :33])
    return tmp_path


def test_makes_a_benchmark_set(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Set5 of SwinIR, every file equal to MATLAB's."""
    golden = shared / "golden" / "set5"
    for n in (2, 4):
        out = tmp_path / f"X{n}"
        code, text, err = run(capsys, golden / "HR", out, "--scale", f"1/{n}", "--modcrop", "--suffix", f"x{n}")
        assert (code, err) == (0, "")
        assert text.splitlines()[0].startswith("5 of 5 images resized, ")
        assert text.splitlines()[1] == f"  {out.resolve()}"
        expected = sorted((golden / "LR_bicubic" / f"X{n}").glob("*.png"))
        assert [path.name for path in expected] == [path.name for path in sorted(out.glob("[!.]*"))]
        for path in expected:
            np.testing.assert_array_equal(read(out / path.name), read(path))


def test_old_sets_and_im2double(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = shared / "golden"
    arguments = ("--scale", "1/4", "--modcrop", "--suffix", "_LRBI_x4", "--border", "replicate")
    assert run(capsys, golden / "set5" / "HR", tmp_path, *arguments)[0] == 0
    for path in (golden / "legacy_rcan_set5" / "x4").glob("*.png"):
        np.testing.assert_array_equal(read(tmp_path / path.name), read(path))
    baboon = golden / "baboon_im2double"
    result = tmp_path / "baboon_x2.png"
    assert run(capsys, baboon / "baboon.png", result, "--scale", "0.5", "--double")[0] == 0
    np.testing.assert_array_equal(read(result), read(baboon / "baboon_down_x2_matlab.png"))


def test_keeps_the_tree_and_gray_images(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, err = run(capsys, tree / "in", tree / "out", "--scale", "2", "--kernel", "lanczos3")
    assert (code, err) == (0, "")
    assert "3 of 3" in text
    found = sorted(
        path.relative_to(tree / "out").as_posix() for path in (tree / "out").rglob("[!.]*") if path.is_file()
    )
    assert found == ["cat.png", "deep/er/coffee.png", "gray.png"]
    for name, source in (
        ("cat.png", "cat.png"),
        ("deep/er/coffee.png", "deep/er/coffee.PNG"),
        ("gray.png", "gray.png"),
    ):
        expected = pydegrade.imresize(read(tree / "in" / source), 2, kernel="lanczos3")
        np.testing.assert_array_equal(read(tree / "out" / name), expected)
    assert read(tree / "out/gray.png").ndim == 2
    # Again: everything is made again, also what somebody changed.
    save(tree / "out/cat.png", np.zeros((2, 2, 3), np.uint8))
    assert run(capsys, tree / "in", tree / "out", "--scale", "2", "--kernel", "lanczos3")[0] == 0
    assert read(tree / "out/cat.png").shape == (122, 164, 3)


def test_options_reach_imresize(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = read(tree / "in/cat.png")
    result = tree / "one.png"
    for arguments, keywords in (
        (("--double",), {"semantics": "im2double"}),
        (("--no-antialias", "--kernel", "bilinear"), {"antialias": False, "kernel": "bilinear"}),
        (("--border", "replicate"), {"border": "replicate"}),
    ):
        code, text, _ = run(capsys, tree / "in/cat.png", result, "--scale", "0.3", *arguments)
        assert code == 0
        assert text.splitlines()[1] == f"  {result.resolve()}"
        np.testing.assert_array_equal(read(result), pydegrade.imresize(image, 0.3, **keywords))  # type: ignore[arg-type]


def test_says_when_sides_are_no_multiples(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, tree / "in", tree / "out", "--scale", "1/4")
    assert (code, err) == (0, "warning: 2 of 3 images have sides that are no multiples of 4; see --modcrop\n")
    assert read(tree / "out/cat.png").shape == (16, 21, 3)
    code, _, err = run(capsys, tree / "in", tree / "out", "--scale", "1/4", "--modcrop")
    assert (code, err) == (0, "")
    assert read(tree / "out/cat.png").shape == (15, 20, 3)


def test_bad_files_are_reported_and_the_rest_is_done(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "in/broken.png").write_bytes((tree / "in/cat.png").read_bytes()[:500])
    np.save(tree / "in/five.npy", np.zeros((8, 8, 5), np.uint8))
    save(tree / "in/small.png", np.zeros((3, 9, 3), np.uint8))
    (tree / "in/gone.png").symlink_to(tree / "nowhere.png")
    Image.fromarray(np.full((8, 8, 4), 128, np.uint8)).save(tree / "in/see_through.png")
    code, text, err = run(capsys, tree / "in", tree / "out", "--scale", "1/4", "--modcrop")
    assert code == 2
    lines = err.splitlines()
    assert lines[-1] == "degrade resize: 4 of 8 images skipped"
    lines = sorted(lines[:-1])
    assert lines[0] == f"note: {tree}/in/see_through.png: alpha channel dropped"
    assert lines[1].startswith(f"warning: skipped: {tree}/in/broken.png: corrupt or truncated (")
    assert lines[2:] == [
        f"warning: skipped: {tree}/in/five.npy: must be uint8 [H, W, 3], got uint8 [8, 8, 5]",
        f"warning: skipped: {tree}/in/gone.png: No such file or directory",
        f"warning: skipped: {tree}/in/small.png: sides must be at least 4 px, got 9 x 3",
    ]
    assert text.startswith("4 of 8 images resized")
    assert not list((tree / "out").rglob("*.partial"))


def test_interruption_leaves_finished_files(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_one = resize._resized
    opened = []

    def interrupted(path: Path, job: resize.ResizeRequest, budget: object) -> tuple[bytes, tuple[str, ...]]:
        opened.append(path)
        if len(opened) > 1:
            raise KeyboardInterrupt
        return read_one(path, job, budget)

    monkeypatch.setattr(resize, "_resized", interrupted)
    code, _, err = run(capsys, tree / "in", tree / "out", "--scale", "2")
    assert code == 130
    assert err.startswith("degrade resize: interrupted with ")
    assert err.endswith("of 3 images done; the same command continues\n")
    found = [path for path in (tree / "out").rglob("[!.]*") if path.is_file()]
    assert [read(path).shape[0] in (122, 80, 60) for path in found] == [True]
    monkeypatch.undo()
    code, text, _ = run(capsys, tree / "in", tree / "out", "--scale", "2")
    assert (code, text.splitlines()[0]) == (0, "1 images are there already (--force makes them again)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("IN", "OUT", "--scale", "0"), "--scale: must be a number > 0 such as 1/4, 0.25 or 2, got '0'"),
        (("IN", "OUT", "--scale", "-1"), "--scale: must be a number > 0 such as 1/4, 0.25 or 2, got '-1'"),
        (("IN", "OUT", "--scale", "1/0"), "--scale: must be a number > 0 such as 1/4, 0.25 or 2, got '1/0'"),
        (("IN", "OUT", "--scale", "nan"), "--scale: must be a number > 0 such as 1/4, 0.25 or 2, got 'nan'"),
        (("IN", "OUT", "--scale", "0.3", "--modcrop"), "--modcrop: needs a scale of 1/n with a whole n, got 0.3"),
        (("IN", "OUT", "--scale", "2", "--modcrop"), "--modcrop: needs a scale of 1/n with a whole n, got 2"),
        (("IN", "OUT", "--scale", "2", "--suffix", "../x"), "--suffix: must not contain slashes, got '../x'"),
        (("IN", "IN", "--scale", "2"), "/in must lie outside of "),
        (("IN/cat.png", "IN", "--scale", "2"), "IN/cat.png is an input, the result would replace it"),
        (("nowhere", "OUT", "--scale", "2"), "Path 'nowhere' does not exist"),
        (("IN", "OUT"), "Missing option '--scale'"),
    ],
)
def test_messages(tree: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    places = {"IN": str(tree / "in"), "OUT": str(tree / "out")}
    arguments = tuple(
        places.get(one, one.replace("IN/", f"{tree}/in/") if one.startswith("IN/") else one) for one in arguments
    )
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message.replace("IN:", f"{tree}/in:").replace("IN/", f"{tree}/in/").replace("--scale:", "") in err
    assert not (tree / "out").exists()


def test_two_images_of_one_name_are_both_made(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tree / "in/cat.jpg", data.chelsea()[:10, :10])
    assert run(capsys, tree / "in", tree / "out", "--scale", "2")[0] == 0
    assert read(tree / "out/cat.png").shape == (122, 164, 3)
    assert read(tree / "out/cat.jpg.png").shape == (20, 20, 3)


def test_limits_results_too(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, tree / "in/gray.png", tree / "out", "--scale", "100", "--max-megapixels", "1")
    assert code == 2
    assert "the result must have at most 1,000,000 pixels (--max-megapixels), got about 9,900,000" in err


def test_parts() -> None:
    assert [parse_scale(text) for text in ("1/3", "0.25", "4", " 2 / 3 ", ".5", "1e-3")] == [
        1 / 3,
        0.25,
        4,
        2 / 3,
        0.5,
        1e-3,
    ]
    assert [whole_shrinkage(1 / n) for n in range(1, 100)] == list(range(1, 100))
    plan = plan_resize(Path("a/b.jpg"), Path("c"), "x2")
    assert [item.name for item in plan.items.images] == ["bx2"]
    assert (plan.folder, plan.file) == (Path("c"), None)
    assert plan_resize(Path("a/b.jpg"), Path("c.png"), "x2").file == Path("c.png")
