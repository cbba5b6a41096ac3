"""Configurations: what is read is what was written, and everything wrong is said in one line with its place."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import numpy as np
import pytest

from pydegrade.toml_lines import key_lines
from pytrain.config import config, describe
from pytrain.errors import CheckpointError, ConfigError
from pytrain.methods.contract import Setup
from pytrain.methods.registry import METHODS
from pytrain.nets import NETS
from pytrain.options import as_json, option, options, options_of, records_in

from .conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = """\
[run]
name = "first"
steps = 100

[net]
type = "srresnet"
scale = 2
num_blocks = 4

[method]
type = "psnr"
space = "auto"

[data]
hr = ["photos", "/elsewhere/photos"]
batch = 4
crop_px = 32

[optimizer]
betas = [
    0.9,
    0.99,
]
learning_rates = { generator = 1e-4 }

[[evaluate.sets]]
name = "one"
hr = "held/out"

[[evaluate.sets]]
name = "two"
hr = "../sets/two"
"""


def load(text: str = TEXT, *overrides: str) -> config.Config:
    return config.loads(text, overrides, "cfg.toml", "/project")


def message(text: str = TEXT, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- Lines of keys


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of everything in parsed TOML."""
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        found += leaves(entry, (*path, key))
    return found


HARD_TOML = '''\
# comment with [table] and key = 1
top."dotted key".x = 1          # line 2

["quoted [table]"]
"a=b" = "text with # and ] and \\" = "
'literal' = 'C:\\path\\'        # 6
long = """
[not.a.table]
key = "no key"
"""
after_long = 1                  # 11
lines = [ 1, # [
  { inner = "}" , two = [3, 4]},
  \'\'\'
]\'\'\', 5]
dated = 1979-05-27 07:32:00     # 16
[a.b]
c.d = true
[[list]]
x = 1                           # 20
[[list.inner]]
y = 1
[list.table]
z = { }
[[list]]
x = 2                           # 26
[list.table]
z = 1e3                         # 28
quotes = """"two quotes""\\""""
last = 2                        # 30
'''


def test_every_key_has_its_line():
    parsed, lines = tomllib.loads(HARD_TOML), key_lines(HARD_TOML)
    assert set(lines) == set(leaves(parsed))
    wanted = {
        ("top", "dotted key", "x"): 2, ("quoted [table]", "a=b"): 5, ("quoted [table]", "literal"): 6,
        ("quoted [table]", "after_long"): 11, ("quoted [table]", "lines", 1, "two", 1): 13,
        ("quoted [table]", "lines", 2): 14, ("quoted [table]", "lines", 3): 15, ("quoted [table]", "dated"): 16,
        ("a", "b", "c", "d"): 18, ("list",): 19, ("list", 0, "x"): 20, ("list", 0, "inner", 0, "y"): 22,
        ("list", 0, "table", "z"): 24, ("list", 1): 25, ("list", 1, "x"): 26, ("list", 1, "table", "z"): 28,
        ("list", 1, "table", "last"): 30,
    }  # fmt: skip
    assert {path: lines[path] for path in wanted} == wanted


def test_lines_of_the_shipped_spaces_are_complete():
    for path in (Path(__file__).parent.parent / "pydegrade" / "spaces").glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        assert set(key_lines(text)) == set(leaves(tomllib.loads(text)))


# ---- Reading


def test_values_and_defaults():
    loaded = load()
    assert (loaded.run.name, loaded.run.steps, loaded.run.seed) == ("first", 100, 0)
    assert loaded.net == NETS["srresnet"].config(scale=2, num_blocks=4)
    assert config.method_name(loaded.method) == "psnr"
    assert loaded.optimizer.betas == (0.9, 0.99)
    assert loaded.optimizer.learning_rates == {"generator": 1e-4}
    assert [entry.name for entry in loaded.evaluate.sets] == ["one", "two"]


def test_an_integer_serves_as_a_number_and_one_text_as_a_list():
    assert load(TEXT, "optimizer.learning_rate=1").optimizer.learning_rate == 1.0
    assert isinstance(load(TEXT, "optimizer.learning_rate=1").optimizer.learning_rate, float)
    assert load(TEXT, 'data.hr="/x"').data.hr == ("/x",)


def test_relative_paths_begin_at_the_file_and_those_of_set_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load()
    assert loaded.data.hr == ("/project/photos", "/elsewhere/photos")
    assert [entry.hr for entry in loaded.evaluate.sets] == [("/project/held/out",), ("/sets/two",)]
    assert load(TEXT, "data.hr=photos").data.hr == (str(tmp_path / "photos"),)
    # A preset's name is no path; results go below the current folder wherever the file lies.
    assert load(TEXT, "method.space=bicubic-x2").method.space == "bicubic-x2"
    assert load(TEXT, "method.space=my.toml").method.space == str(tmp_path / "my.toml")
    assert load(TEXT, "run.out=here").run.out == "here"


def test_load_reads_a_file(tmp_path):
    path = tmp_path / "cfg.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert config.load(path).data.hr[0] == str(tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        config.load(tmp_path / "missing.toml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"cfg\.toml: cannot be read: .*decode"):
        config.load(path)


def test_overrides_are_applied_in_order_after_the_file():
    loaded = load(TEXT, "run.steps=5", "run.steps=6", "net.num_blocks = 2", "evaluate.sets[1].name=three")
    assert (loaded.run.steps, loaded.net.num_blocks, loaded.evaluate.sets[1].name) == (6, 2, "three")
    # What is no TOML value is text; what looks like a number is text where text is wanted.
    assert load(TEXT, "run.name=a-b").run.name == "a-b"
    assert load(TEXT, "run.name=2024").run.name == "2024"
    assert load(TEXT, "run.name='2024'").run.name == "2024"
    assert load(TEXT, 'data.images=["a.png", "b.png"]').data.images == ("a.png", "b.png")
    assert load(TEXT, 'net={type="edsr", scale=2}').net == NETS["edsr"].config(scale=2)


# ---- Everything wrong: one line that names place, key, value and the nearest key


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("batch = 4", "bach = 4", "cfg.toml:16: [data]: unknown key 'bach'; did you mean 'batch'?"),
        ("batch = 4", "batch = 4.0", "cfg.toml:16: data.batch must be a whole number, written without a point, got 4.0"),
        ("batch = 4", "batch = true", "cfg.toml:16: data.batch must be a whole number, got True"),
        ("batch = 4", "batch = 0", "cfg.toml:16: data.batch must be >= 1, got 0"),
        ("batch = 4", "batch 4", "cfg.toml:16: not valid TOML: Expected '=' after a key in a key/value pair (column 7)"),
        ("crop_px = 32", "crop_px = 33", "cfg.toml:17: data.crop_px must be a multiple of net.scale 2, got 33"),
        ("    0.99,\n", '    "x",\n', "cfg.toml:22: optimizer.betas[1] must be a number, got 'x'"),
        ("    0.99,\n", "", "cfg.toml:20: optimizer.betas must be a list of 2 values, got [0.9]"),
        ("    0.99,\n", "    1.5,\n", "cfg.toml:22: optimizer.betas[1] must be < 1, got 1.5"),
        ("1e-4", "-1e-4", "cfg.toml:24: optimizer.learning_rates.generator must be >= 0, got -0.0001"),
        ("{ generator = 1e-4 }", "3", "cfg.toml:24: optimizer.learning_rates must be a table, got 3"),
        ('"first"', "5", "cfg.toml:2: run.name must be text, got 5"),
        ('"first"', '"a/b"', "cfg.toml:2: run.name must be a plain name, without /, got 'a/b'"),
        ("[data]", "[dat]", "cfg.toml:14: unknown section 'dat'; did you mean 'data'?"),
        ("[run]", "x = 1\n[run]", "cfg.toml:1: unknown key outside of a section: 'x'"),
        ('"srresnet"', '"sresnet"', "cfg.toml:6: net.type must be a known network, got 'sresnet'; did you mean 'srresnet"),
        ('type = "srresnet"\n', "", "cfg.toml:5: net.type is missing; known: srresnet, "),
        ("num_blocks", "num_block", "cfg.toml:8: [net] (srresnet): unknown key 'num_block'; did you mean 'num_blocks'?"),
        ("scale = 2", "scale = 7", "cfg.toml:7: net.scale must be one of 1, 2, 3 or 4, got 7"),
        ('"psnr"', '"psrn"', "cfg.toml:11: method.type must be a known method, got 'psrn'; did you mean 'psnr'?"),
        ('type = "psnr"\n', "", "cfg.toml:10: method.type is missing; known: psnr, "),
        ("space =", "spacey =", "cfg.toml:12: [method] (psnr): unknown key 'spacey'; did you mean 'space'?"),
        ('"held/out"', "[1]", "cfg.toml:28: evaluate.sets[0].hr[0] must be text, got 1"),
        ('"two"', '"one"', "cfg.toml:26: evaluate.sets.name must be different for every set, got 'one'"),
        ('"two"', '""', "cfg.toml:31: evaluate.sets[1].name must be "),
        ('hr = ["photos", "/elsewhere/photos"]', "hr = 3", "cfg.toml:15: data.hr must be a list, got 3"),
    ],
)  # fmt: skip
def test_errors_in_the_file(old, new, wanted):
    assert message(changed(old, new)).startswith(wanted)


def test_missing_sections():
    without = TEXT[: TEXT.index("[net]")] + TEXT[TEXT.index("[method]") :]
    assert message(without).startswith("cfg.toml: the section [net] is missing; its type is one of srresnet, ")
    assert message('method = 3\n[net]\ntype="edsr"').startswith("cfg.toml:1: method must be a table, got 3")
    assert message('net = 3\n[method]\ntype="psnr"').startswith("cfg.toml:1: net must be a table, got 3")
    assert message('run = 3\n[net]\ntype="edsr"\n[method]\ntype="psnr"') == "cfg.toml:1: run must be a table, got 3"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("run.steps=abc", "run.steps must be a whole number, got 'abc'"),
        ("run.steps=1e3", "run.steps must be a whole number, written without a point, got 1000.0"),
        ("optimizer.eps=nan", "optimizer.eps must be a finite number, got nan"),
        ("optimizer.type=adem", "optimizer.type must be one of 'adam', 'adamw' or 'lamb', got 'adem'; did you mean 'adam"),
        ("optimizer.type=3", "optimizer.type must be one of 'adam', 'adamw' or 'lamb', got 3"),
        ("log.tensorboard=1", "log.tensorboard must be true or false, got 1"),
        ("train.accumulate=5", "train.accumulate must be at most data.batch 4, got 5"),
        ("net.num_block=3", "[net] (srresnet): unknown key 'num_block'; did you mean 'num_blocks'?"),
        ("evaluate.sets[2].name=a", "[2] must be below the list's length 2"),
        ("evaluate.sets.name=a", "'name' lies in a list; write the entry's number, as in sets[0].name"),
        ("run[0]=a", "[0] must follow a list"),
        ("run.steps.x=1", "'steps' is no table, its value is 100"),
        ("data.hr=[a", "not a TOML value: Invalid value"),
        ('run.name="a', "not a TOML value: "),
        ("run.steps", "must be section.key=value, got no '='"),
        (".x=3", "must begin with a key like section.key, got '.x'"),
        ("x=3", "unknown key outside of a section: 'x'; known: run, "),
        ("net.type=unet_discriminator", "net.type must be a known network, got 'unet_discriminator'; known: srresnet, "),
        ("net={type='spandrel'}", "net.scale must be given (spandrel reads the file only later), got 0"),
    ],
)  # fmt: skip
def test_errors_of_overrides_name_them(override, wanted):
    assert message(TEXT, override).startswith(f"--set {override}: {wanted}")


def test_errors_that_methods_find_later_get_their_place():
    loaded = load(TEXT, "run.steps=7")
    error = ConfigError("data.hr must be folders, got nothing")
    assert str(config.located(loaded, error)) == "cfg.toml:15: data.hr must be folders, got nothing"
    assert str(config.located(loaded, ConfigError("run.steps: too few"))) == "--set run.steps=7: run.steps: too few"
    assert (
        str(config.located(loaded, ConfigError("optimizer.eps: too small"))) == "cfg.toml:19: optimizer.eps: too small"
    )
    missing = config.located(loaded, CheckpointError("data.hr: no such file"))
    assert str(missing) == "cfg.toml:15: data.hr: no such file"
    for other in (ConfigError("something else is wrong"), CheckpointError("x.pth: bad"), ConfigError("image.png: bad")):
        assert config.located(loaded, other) is other


# ---- Writing


TEXTS = ["", "a", "data/set 5", 'quote " and \\', "tab\tline\nend", "\x7f\x01", "ünï 写真 😀", "#[x]=", "'''"]


def random_value(hint: Any, draw: np.random.Generator) -> Any:
    """A value of a type; texts with everything that TOML must escape."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return random_value(inner[0], draw)
    if origin is typing.Literal:
        return inner[draw.integers(len(inner))]
    if origin is tuple and inner[-1] is Ellipsis:
        return tuple(random_value(inner[0], draw) for _ in range(draw.integers(4)))
    if origin is tuple:
        return tuple(random_value(entry, draw) for entry in inner)
    if origin is not None:
        return {TEXTS[place] + "k": random_value(inner[1], draw) for place in draw.integers(len(TEXTS), size=2)}
    if hint is bool:
        return bool(draw.integers(2))
    if hint is int:
        return int(10.0 ** draw.uniform(0, 6))
    if hint is float:
        return float(10.0 ** draw.uniform(-9, 2))
    if hint is str:
        return TEXTS[draw.integers(len(TEXTS))]
    return random_record(hint, draw)


# Options of methods that have no default which would do: files of the user.
NEEDED_FILES = ("vgg19", "manifest", "teacher")


def needed_files(method: str) -> list[str]:
    """`--set` texts for the files that a method asks for."""
    known = options_of(METHODS[method].config)
    return [f"method.{name}=/files/{name}" for name in NEEDED_FILES if name in known]


def upscaling(net: str) -> Any:
    """A network of scale 2, or of its own where it has only one."""
    try:
        return NETS[net].config(scale=2)
    except ConfigError:
        return NETS[net].config()


def random_record(kind: type[Any], draw: np.random.Generator) -> Any:
    """A structure in which each field is changed as long as the structure accepts it."""
    record = kind()
    for name, known in options_of(kind).items():
        value = random_value(known.hint, draw)
        if known.extra.get("path"):
            continue
        try:
            record = dataclasses.replace(record, **{name: value})
        except ConfigError:
            continue
    return record


@pytest.mark.representatives(10)
@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_is_read_again(seed):
    draw = np.random.default_rng(seed)
    names = [*METHODS]
    method = METHODS[names[seed % len(names)]].config
    start = {name: f"/files/{name}" for name in options_of(method) if name in NEEDED_FILES}
    sections = {name: random_record(kind, draw) for name, kind in config.SECTIONS.items()}
    net = upscaling(config.UPSCALERS[seed % len(config.UPSCALERS)])
    sections["data"] = dataclasses.replace(sections["data"], crop_px=64, batch=8)
    sections["train"] = dataclasses.replace(sections["train"], accumulate=2)
    written = config.Config(net=net, method=method(**start), **sections)
    read = config.loads(config.to_toml(written), folder="/nowhere")
    assert read == written
    assert config.digest(read) == config.digest(written)
    assert json.loads(json.dumps(config.to_dict(written))) == config.to_dict(written)
    assert tomllib.loads(config.to_toml(written)) == config.to_dict(written)


def test_written_paths_do_not_depend_on_where_the_file_lies():
    loaded = load()
    assert config.loads(config.to_toml(loaded), folder="/other") == loaded


# ---- Digest


SAME = ["run.name=b", "run.out=x", "run.device=cpu", "data.workers=3", "data.cache_mb=1", "train.threads=1",
        "train.compile=default", "train.accumulate=2", "evaluate.every_steps=7", "checkpoint.every_steps=7",
        "log.every_steps=7", 'data.hr=["/moved/photos", "/moved/photos"]']  # fmt: skip
OTHER = ["run.seed=1", "run.steps=101", "net.num_blocks=3", "net={type='edsr',scale=2}", "method.loss=mse",
         "data.batch=8", "data.crop_px=34", "data.augment=none", "data.hr=other", "data.exclude=a.png",
         "optimizer.learning_rate=1e-3", "optimizer.betas=[0.9,0.999]", "schedule.warmup_steps=3", "train.ema_decay=0",
         "train.precision=fp32", "train.pretrained=x.pth"]  # fmt: skip


def test_the_digest_holds_what_determines_the_weights_and_nothing_else():
    digest = config.digest(load())
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    for override in SAME:
        assert config.digest(load(TEXT, override)) == digest, override
    others = {config.digest(load(TEXT, override)) for override in OTHER}
    assert len(others) == len(OTHER)
    assert digest not in others


def test_options_that_came_later_move_the_digest_only_where_they_are_used():
    """Records that were made before they existed stay good."""
    later = {"ms_ssim_weight", "frequency_weight", "ldl_weight"}
    loaded = load()
    assert not later & set(config._weighty(loaded)["method"])
    digests = {config.digest(load(TEXT, f"method.{name}=0.5")) for name in later}
    assert len(digests | {config.digest(loaded)}) == 4


# ---- Files to start from, and the schema


@pytest.mark.representatives(2)
@pytest.mark.parametrize("method", METHODS)
def test_init_writes_every_option_with_its_help_and_the_file_loads(method):
    needed = needed_files(method)
    for net in config.UPSCALERS:
        text = describe.template(method, net, upscaling(net).scale)
        loaded = config.loads(text, needed)
        assert loaded.net == upscaling(net)
        assert config.method_name(loaded.method) == method
        unbroken = " ".join(text.replace("\n# ", " ").split())
        kinds = {**config.SECTIONS, "method": METHODS[method].config, "net": NETS[net].config}
        for name, kind in kinds.items():
            for key, known in options_of(kind).items():
                assert f"{key} =" in text or f"[{name}.{key}]" in text, key
                needs_text = key not in ("sets", "type")
                assert not needs_text or describe.help_text(known).split("; one of")[0] in unbroken
    assert max(map(len, text.splitlines())) <= 124


@pytest.mark.parametrize("method", METHODS)
def test_init_suggests_options_that_exist_and_a_network_that_the_method_takes(method):
    entry = METHODS[method]
    loaded = load(describe.template(method), *needed_files(method))
    values = config.to_dict(loaded)
    for key, value in entry.suggested.items():
        section, name = key.split(".")
        assert values[section][name] == value, key
    setup = Setup(loaded.net, 0, loaded.data.crop_px, loaded.data.batch, loaded.run.steps)
    problem = ""
    try:
        entry.build(loaded.method, setup)
    except ConfigError as error:
        problem = str(error)
    # Files that are only named here are missing; the network must not be what is wrong.
    assert "net." not in problem


def test_init_takes_what_the_method_was_published_with():
    loaded = config.loads(describe.template("realesrnet"))
    assert (loaded.net.type, loaded.run.steps, loaded.data.batch) == ("rrdbnet", 1_000_000, 48)
    assert "[Wang et al. 2021]" in describe.template("realesrnet")
    with pytest.raises(ConfigError, match="--method: must be a known method, got 'psn'; did you mean 'psnr'"):
        describe.template("psn")
    with pytest.raises(ConfigError, match="--net: must be a known network, got 'unet_discriminator'"):
        describe.template("psnr", "unet_discriminator")


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value fits a JSON schema."""
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.slow
def test_the_schema_accepts_what_loads_and_refuses_what_does_not():
    schema = describe.schema()
    assert fits(schema, tomllib.loads(TEXT))
    for method in METHODS:
        assert fits(schema, tomllib.loads(describe.template(method)))
        loaded = config.loads(describe.template(method), needed_files(method))
        assert fits(schema, config.to_dict(loaded))
    wrong = [("batch = 4", "bach = 4"), ("batch = 4", "batch = 4.5"), ('"psnr"', '"psrn"'), ("    0.99,\n", ""),
             ("[data]", "[dat]"), ('"first"', "5"), ("num_blocks", "reduction")]  # fmt: skip
    for old, new in wrong:
        assert not fits(schema, tomllib.loads(changed(old, new))), new


@pytest.mark.slow
def test_the_schema_in_the_repository_is_the_one_that_the_command_writes():
    stored = Path(__file__).parent.parent / "configs" / "pytrain.schema.json"
    assert json.loads(stored.read_text(encoding="utf-8")) == describe.schema(), "run `make schema`"
    jsonschema.Draft202012Validator.check_schema(describe.schema())


def every_record(kind: type[Any] = config.Config) -> set[type[Any]]:
    """The classes of all tables of a configuration."""
    inner = {one for known in options_of(kind).values() for one in records_in(known.hint)} - {kind}
    return {kind}.union(*(every_record(one) for one in inner))


def test_every_option_says_what_it_means():
    for kind in every_record():
        for name, known in options_of(kind).items():
            assert known.help or name == "places", f"{kind.__name__}.{name}"


# ---- All errors of a file at once


def test_all_errors_of_a_file_are_said_at_once_each_with_its_line():
    text = (
        changed("batch = 4", "bach = 4")
        .replace("steps = 100", "steps = 0")
        .replace("num_blocks = 4", "num_blocks = 1.5")
    )
    text = text.replace('name = "two"', "name = 2") + "[chekpoint]\n"
    with pytest.raises(ConfigError) as caught:
        load(text, "optimizer.eps=-1")
    assert str(caught.value).splitlines() == list(caught.value.problems)
    assert list(caught.value.problems) == [
        "--set optimizer.eps=-1: optimizer.eps must be > 0, got -1",
        "cfg.toml:3: run.steps must be >= 1, got 0",
        "cfg.toml:8: net.num_blocks must be a whole number, written without a point, got 1.5",
        "cfg.toml:16: [data]: unknown key 'bach'; did you mean 'batch'?",
        "cfg.toml:31: evaluate.sets[1].name must be text, got 2",
        "cfg.toml:33: unknown section 'chekpoint'; did you mean 'checkpoint'?",
    ]


def test_thousands_of_errors_are_counted():
    with pytest.raises(ConfigError) as caught:
        load(TEXT, f"evaluate.sets={[1] * 3000}")
    first, *_, last = str(caught.value).splitlines()
    assert "evaluate.sets[0] must be a table, got 1" in first
    assert last == "and 2950 more such lines"


def test_values_are_checked_in_python_too_and_all_at_once():
    with pytest.raises(ConfigError) as caught:
        config.SECTIONS["data"](batch=0, crop_px=2.5)
    assert str(caught.value).splitlines() == [
        "data.crop_px must be a whole number, written without a point, got 2.5",
        "data.batch must be >= 1, got 0",
    ]
    with pytest.raises(ConfigError, match=r"^net\.scale must be one of 1, 2, 3 or 4, got 7$"):
        NETS["srresnet"].config(scale=7)


# ---- Sizes that no run has: one line, at once


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("data.batch=1000000000", "data.batch must be <= 65536, got 1000000000"),
        ("data.batch=1e9", "data.batch must be a whole number, written without a point, got 1000000000.0"),
        ("data.crop_px=100000000", "data.crop_px must be <= 32768, got 100000000"),
        ("net.num_blocks=10000000", "net.num_blocks must be <= 1024, got 10000000"),
        ("net.num_features=10000000", "net.num_features must be <= 4096, got 10000000"),
        (f"run.steps={10**400}", "run.steps must be <= 1000000000, got 1000"),
        (f"run.seed={2**63}", "run.seed must be < 4611686018427387904, got 9223372036854775808"),
        ("optimizer.eps=inf", "optimizer.eps must be a finite number, got inf"),
        ("data.hr=[1979-05-27]", "data.hr[0] must be text, got"),
        ("method.type=[1]", "method.type must be a known method, got [1]"),
        ("run.name='" + "n" * 100_000 + "'", "run.name must be at most 200 letters, got 'nnn"),
        ('data.hr="a\\u0000b"', "data.hr[0] must be a path, got "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_out_of_all_bounds(override, wanted):
    said = message(TEXT, override)
    assert said.startswith("--set ")
    assert wanted in said
    assert len(said) < 400 + len(override)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "9" * 5000,
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "{b = " * 300 + "1" + "}" * 300,
        ".".join("a" * 300) + " = 1",
        "[" + ".".join("a" * 300) + "]",
        "\x00",
        "a = '" + "x" * 2**20 + "'",
    ],
    ids=["digits", "brackets", "braces", "dots", "table", "nul", "megabyte"],
)
def test_hostile_files(text, tmp_path):
    path = tmp_path / "hostile.toml"
    path.write_text(TEXT + "\n[x]\n" + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_file_without_end_is_refused():
    with pytest.raises(ConfigError, match="/dev/zero: must be a configuration of at most 1 MB"):
        config.load("/dev/zero")


# ---- What training depends on, and runs of before


def test_one_flag_says_what_a_resumed_run_may_change():
    before = config.to_dict(load())
    for override in SAME:
        assert config.changed_settings(before, load(TEXT, override)) == [] or override.startswith("data.hr"), override
    for override in OTHER:
        assert config.changed_settings(before, load(TEXT, override)), override
    assert config.changed_settings(before, load(TEXT, "data.batch=8")) == ["data.batch: 8, it was 4"]
    # A run of a version that had one option less, and one that is gone.
    del before["data"]["augment"]
    before["train"]["gone"] = 3
    assert config.changed_settings(before, load()) == ["train.gone: no option any more, it was 3"]
    assert config.changed_settings(before, load(TEXT, "data.augment=none")) == [
        "data.augment: 'none', it was 'dihedral'",
        "train.gone: no option any more, it was 3",
    ]


def test_an_option_declares_itself_once():
    @options("made.up")
    class Sizes:
        width_px: int = option(3, "of it", "px", ge=1, le=9, moves_weights=False)
        names: dict[str, str] = option({}, "of it", path=True)

    known = options_of(Sizes)
    assert known["width_px"].extra == {"unit": "px", "moves_weights": False}
    assert (known["width_px"].default, known["names"].default) == (3, {})
    assert Sizes() == Sizes(3)
    assert Sizes().names is not Sizes().names
    with pytest.raises(ConfigError, match=r"^made.up.width_px must be <= 9, got 10$"):
        Sizes(width_px=10)
    with pytest.raises(ConfigError, match=r"^made.up: unknown key 'width'; did you mean 'width_px'\?$"):
        Sizes(width=1)  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sizes().width_px = 4  # type: ignore[misc]
    nested: Any = 1
    for _ in range(40):
        nested = [nested]
    with pytest.raises(ConfigError, match="file: tables and lists must be at most 32 deep"):
        as_json(nested, "file")


def test_names_of_earlier_versions_are_read(tmp_path):
    for kind in every_record():
        for name, known in options_of(kind).items():
            assert known.extra.get("formerly") not in options_of(kind), name
    old = TEXT + "[train]\ncrew = 2\n"
    assert load(old) == load(TEXT, "train.parallel_slices=2") == load(TEXT, "train.crew=2")
    assert message(old.replace("crew = 2", "crew = -2")) == "cfg.toml:34: train.parallel_slices must be >= 0, got -2"
    before = config.to_dict(load(TEXT))
    before["train"]["crew"] = before["train"].pop("parallel_slices")
    assert config.changed_settings(before, load(TEXT)) == []
    assert config.changed_settings(before, load(old)) == ["train.parallel_slices: 2, it was 0"]


# `config.toml` as the first version wrote it into the folders of its runs.
FIRST = """
[run]
steps = 2
name = "old"
out = ""
seed = 0
device = "auto"

[net]
type = "srresnet"
scale = 2
num_features = 64
num_blocks = 4
in_channels = 3
out_channels = 3

[method]
type = "realesrgan"
space = "auto"
loss = "l1"
pixel_weight = 1.0
perceptual_weight = 0.0
gan_weight = 0.1
gan = "vanilla"
gan_real = "hr"
gan_start_step = 0
vgg19 = ""
discriminator_pretrained = ""

[method.discriminator]
type = "unet_discriminator"
num_features = 64
in_channels = 3

[data]
hr = ["/photos"]
lr = ""
sets = {}
meta_info = ""
images = []
exclude = []
crop_px = 32
batch = 4
augment = "dihedral"
workers = 0
cache_mb = 512

[optimizer]
type = "adam"
learning_rate = 0.0002
learning_rates = { generator = 0.0001 }
betas = [0.9, 0.99]
eps = 1e-08
weight_decay = 0.0
clip_norm = 0.0
clip_value = 0.0
bias_correction = true
max_weight_norm = 0.0

[schedule]
type = "constant"
warmup_steps = 0
milestones = []
gamma = 0.5
floor = 0.0
periods = []

[train]
precision = "auto"
compile = "off"
accumulate = 1
ema_decay = 0.999
threads = 0
crew = 0
pretrained = ""
bad_steps = 3
skip_above = 0.0

[evaluate]
every_steps = 5000
protocols = ["y-uint8"]
save_images = 0
tile_px = 1024
overlap_px = 32

[[evaluate.sets]]
name = "one"
hr = ["/held"]
lr = ""
space = ""
images = []
exclude = []
seed = 0
crop_px = 0
task = ""

[checkpoint]
every_steps = 5000
keep_last = 3
keep_best = ""

[log]
every_steps = 100
tensorboard = false
wandb = ""
"""


def test_files_of_the_first_version_are_read_and_resumed_without_a_word():
    loaded = config.loads(FIRST)
    assert loaded.method.discriminator == NETS["unet_discriminator"].config()
    assert loaded.optimizer.learning_rates == {"generator": 1e-4}
    assert config.changed_settings(tomllib.loads(FIRST), loaded) == []
    assert config.loads(config.to_toml(loaded)) == loaded


def test_groups_are_chosen_on_other_images_than_scores_are_reported_for():
    """In the shipped configurations that name images at all."""
    chosen = 0
    for path in sorted((ROOT / "configs").glob("*.toml")):
        table = tomllib.loads(path.read_text())
        grouping = table.get("method", {}).get("grouping")
        if grouping is None:
            continue
        reported = [name for one in table.get("evaluate", {}).get("sets", []) for name in one.get("hr", [])]
        found_on = grouping.get("validation_hr", table["data"].get("hr", []))
        assert not {*found_on} & {*reported}, path.name
        chosen += bool(reported)
    assert chosen
