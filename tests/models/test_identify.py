"""Files are recognised by what is in them; broken and hostile ones are refused at once."""

import json
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from reknit.core.errors import InputError, NotFound
from reknit.models.identify import identify
from tests.models import weights

UNET = "model.diffusion_model."
ATTENTION = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SDXL_ATTENTION = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
DIFFUSERS_ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"

FAMILIES: list[tuple[weights.Shapes, tuple[str, str, int | None]]] = [
    (
        {UNET + "input_blocks.0.0.weight": (320, 9, 3, 3), UNET + ATTENTION: (320, 768)},
        ("sd15", "inpaint", 9),
    ),
    ({UNET + "input_blocks.0.0.weight": (320, 4, 3, 3), UNET + ATTENTION: (320, 768)}, ("sd15", "base", 4)),
    ({"conv_in.weight": (320, 9, 3, 3), DIFFUSERS_ATTENTION: (320, 1024)}, ("sd2", "inpaint", 9)),
    (
        {UNET + "input_blocks.0.0.weight": (320, 9, 3, 3), UNET + SDXL_ATTENTION: (640, 2048)},
        ("sdxl", "inpaint", 9),
    ),
    ({"double_blocks.0.img_attn.qkv.weight": (6, 2), "img_in.weight": (8, 384)}, ("flux", "inpaint", 384)),
    (
        {UNET + "double_blocks.0.img_attn.qkv.weight": (6, 2), UNET + "img_in.weight": (8, 64)},
        ("flux", "base", 64),
    ),
    (
        {"single_transformer_blocks.0.attn.to_k.weight": (6, 2), "x_embedder.weight": (8, 384)},
        ("flux", "inpaint", 384),
    ),
    (
        {
            UNET + "joint_blocks.0.x_block.attn.qkv.weight": (6, 2),
            UNET + "x_embedder.proj.weight": (8, 16, 2, 2),
        },
        ("sd3", "base", 16),
    ),
    ({"generator.model.1.bn_l.running_mean": (4,)}, ("lama", "inpaint", 4)),
    ({"model.synthesis.first_stage.conv_first.conv.resample_filter": (4, 4)}, ("mat", "inpaint", 4)),
    ({"encoder.b256.conv1.weight": (4, 4), "synthesis.b256.conv1.weight": (4, 4)}, ("migan", "inpaint", 4)),
    ({"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 16, 3, 3)}, ("flux", "vae", 16)),
    ({"text_model.encoder.layers.0.self_attn.k_proj.weight": (4, 4)}, ("clip", "text", None)),
    ({"encoder.block.0.layer.0.SelfAttention.k.weight": (4, 4)}, ("t5", "text", None)),
    ({"lora_unet_down.lora_up.weight": (4, 4)}, ("unknown", "lora", None)),
    ({"something.else": (4, 4)}, ("unknown", "unknown", None)),
]


@pytest.mark.parametrize(("shapes", "family"), FAMILIES, ids=["-".join(map(str, f)) for _, f in FAMILIES])
@pytest.mark.parametrize("form", ["safetensors", "gguf", "pickle", "legacy"])
def test_families(
    tmp_path: Path, shapes: weights.Shapes, family: tuple[str, str, int | None], form: str
) -> None:
    path = tmp_path / "sd_xl_base_big-lama.bin"  # a name that says the wrong thing
    if form == "safetensors":
        weights.safetensors(path, shapes)
    elif form == "gguf":
        weights.gguf(path, shapes)
    elif form == "pickle":
        weights.torch_zip(
            path, {"state_dict": weights.state(shapes)} if UNET in min(shapes) else weights.state(shapes)
        )
    else:
        value: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, weights.state(shapes)]
        path.write_bytes(b"".join(weights.pickled(each) for each in value))
    found = identify(path)
    if form == "gguf" and family[0] == "unknown":
        family = ("flux", *family[1:])  # the file's own word
    assert (found.family, found.kind, found.in_channels) == family
    assert found.format == ("pickle" if form == "legacy" else form)
    assert found.dtype == {"safetensors": "float16", "gguf": "Q4_K"}.get(form, "float32")
    assert found.parameters == sum(weights.prod(shape) for shape in shapes.values())
    assert found.bytes == path.stat().st_size
    assert bool(found.notes) == (form in ("pickle", "legacy"))


def test_a_large_file_costs_only_its_header(tmp_path: Path) -> None:
    shapes = {
        UNET + "input_blocks.0.0.weight": (320, 9, 3, 3),
        UNET + ATTENTION: (320, 768),
        "rest": (2**33,),
    }
    path = weights.safetensors(tmp_path / "m", shapes, zeros=False)
    tracemalloc.start()
    found = identify(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.bytes > 2**34
    assert found.family == "sd15"
    assert peak < 2**20


def test_torchscript_by_its_code_and_by_its_weights(tmp_path: Path) -> None:
    module = {"a": weights.state({"weight": (3, 4)})}
    lama = weights.torch_zip(
        tmp_path / "m.pt", module, {"__torch__/ffc.py": "class FourierUnit(Module): ..."}
    )
    assert (identify(lama).format, identify(lama).family) == ("torchscript", "lama")
    other = weights.torch_zip(tmp_path / "n.pt", module, {"__torch__/net.py": "class Net(Module): ..."})
    assert (identify(other).format, identify(other).family) == ("torchscript", "unknown")
    assert (identify(other).kind, identify(other).parameters) == ("unknown", 12)
    code = {"__torch__/lib/model_zoo/migan_inference.py": ""}
    migan = weights.torch_zip(tmp_path / "o.pt", weights.state({"w": (3, 4)}, "HalfStorage"), code)
    assert (identify(migan).family, identify(migan).kind, identify(migan).dtype) == (
        "migan",
        "inpaint",
        "float16",
    )


FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def test_a_frozen_script_keeps_its_weights_with_its_constants(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    weights.torch_zip(path, {}, {"__torch__/net.py": ""})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/constants.pkl", weights.pickled(tuple(weights.state({"w": (7, 9)}).values())))
    assert (identify(path).format, identify(path).parameters) == ("torchscript", 63)


def test_onnx(tmp_path: Path) -> None:
    path = weights.onnx_model(
        tmp_path / "m.bin",
        {"image": (FLOAT, ["batch", 3, 512, 512]), "mask": (FLOAT, ["batch", 1, 512, 512])},
        {"output": (FLOAT, ["batch", 3, 512, 512])},
        {"w": (1000, 1000), "v": (500, 1000), "u": (1, 1000)},
    )
    found = identify(path)
    assert (found.format, found.kind, found.dtype, found.opset) == ("onnx", "inpaint", "float32", 17)
    assert found.parameters == 1_501_000
    assert {name: (t.dtype, t.shape) for name, t in found.inputs.items()} == {
        "image": ("float32", ("batch", 3, 512, 512)),
        "mask": ("float32", ("batch", 1, 512, 512)),
    }
    assert [t.shape for t in found.outputs.values()] == [("batch", 3, 512, 512)]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("inputs", "count", "family"),
    [
        ({"input": (FLOAT, [1, 4, "h", "w"])}, 7150, "lama"),
        ({"image": (UINT8, ["n", 3, "h", "w"]), "mask": (UINT8, ["n", 1, "h", "w"])}, 2444, "migan"),
        ({"image": (FLOAT, ["n", 3, "h", "w"]), "mask": (FLOAT, ["n", 1, "h", "w"])}, 2700, "migan"),
        ({"image": (FLOAT, ["n", 3, "h", "w"]), "mask": (FLOAT, ["n", 1, "h", "w"])}, 10, "unknown"),
    ],
)
def test_onnx_by_size(tmp_path: Path, inputs: dict[str, Any], count: int, family: str) -> None:
    outputs = {"output": (FLOAT, [1, 3, "h", "w"])}
    path = weights.onnx_model(tmp_path / "m.onnx", inputs, outputs, {"w": (10, 10), "v": (count, count)})
    assert (identify(path).family, identify(path).kind) == (family, "inpaint")


def test_onnx_that_is_no_inpainting_model_says_so(tmp_path: Path) -> None:
    path = weights.onnx_model(
        tmp_path / "m.onnx", {"pixel_values": (FLOAT, [1, 3, 224, 224])}, {"logits": (FLOAT, [1, 1000])}
    )
    found = identify(path)
    assert found.kind == "unknown"
    assert "pixel_values" in found.notes[0]


def test_onnx_with_its_weights_elsewhere_says_so(tmp_path: Path) -> None:
    import onnx

    path = weights.onnx_model(
        tmp_path / "m.onnx",
        {"input": (FLOAT, [1, 4, 8, 8])},
        {"output": (FLOAT, [1, 3, 8, 8])},
        {"w": (8, 8)},
    )
    model = onnx.load(path)
    assert identify(path).complete
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    assert not identify(path).complete
    assert "another file" in identify(path).notes[0]


def test_a_graph_of_many_nodes_is_read_in_a_moment(tmp_path: Path) -> None:
    """LaMa's exports have up to 17 500 nodes."""
    import time

    from onnx import helper, load, save

    path = weights.onnx_model(
        tmp_path / "m.onnx",
        {"input": (FLOAT, [1, 4, 8, 8])},
        {"output": (FLOAT, [1, 3, 8, 8])},
        {"w": (8, 8)},
    )
    model = load(path)
    model.graph.node.extend(
        helper.make_node("Add", ["a", "b"], [f"c{n}"], name=f"Add_{n}") for n in range(17_500)
    )
    save(model, path)
    start = time.process_time()
    identify(path)
    assert time.process_time() - start < 3.0


def test_identities_become_plain_data(tmp_path: Path) -> None:
    path = weights.onnx_model(
        tmp_path / "m.onnx", {"input": (FLOAT, [1, 4, "h", None])}, {"output": (FLOAT, [1, 3, "h", "w"])}
    )
    data = json.loads(json.dumps(identify(path).to_dict()))
    assert data["inputs"] == {"input": {"dtype": "float32", "shape": [1, 4, "h", None]}}


def header(text: bytes | str, length: int | None = None, rest: int = 0) -> bytes:
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(rest)


def one(**entry: Any) -> bytes:
    return header(
        json.dumps({"w": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]} | entry}), rest=8
    )


HOSTILE: dict[str, bytes] = {
    "safetensors: a length beyond the file": header("{}", 2**62),
    "safetensors: cut off": header('{"w":{"dtype":"F16"', 5000),
    "safetensors: nested JSON": header("{" + '"a":{' * 100_000),
    "safetensors: nested lists": header('{"a":' + "[" * 1_000_000),
    "safetensors: a list": header("{}"[:1] + '"a":1}'),
    "safetensors: not UTF-8": header(b'{"\xff\xfe":1}'),
    "safetensors: no type": one(dtype="X9"),
    "safetensors: a type that is a list": one(dtype=["F16"]),
    "safetensors: shape too large": one(shape=[2**50, 2**50]),
    "safetensors: negative": one(shape=[-2, -2]),
    "safetensors: truth for a number": one(shape=[True, 4]),
    "safetensors: many dimensions": one(shape=[1] * 1000),
    "safetensors: data beyond the file": one(data_offsets=[0, 2**40]),
    "safetensors: data backwards": one(data_offsets=[8, 0]),
    "safetensors: data of another size": one(shape=[2, 3]),
    "safetensors: huge numbers": header(
        '{"w":{"dtype":"F16","shape":[1' + "0" * 5000 + '],"data_offsets":[0,8]}}'
    ),
    "gguf: cut off": b"GGUF" + struct.pack("<I", 3),
    "gguf: version 99": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    "gguf: endless tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0) + bytes(200),
    "gguf: endless metadata": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + bytes(200),
    "gguf: huge text": b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 2**63) + bytes(200),
    "gguf: huge array": b"GGUF" + struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 4, 2**62) + bytes(200),
    "gguf: array of arrays": b"GGUF" + struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 9, 1) + bytes(200),
    "gguf: dimensions": b"GGUF" + struct.pack("<IQQQI", 3, 1, 0, 0, 2**31) + bytes(200),
    "onnx: cut off": b"\x08\x08\x3a\xff\xff\xff\xff\x0f",
    "onnx: endless number": b"\x08" + b"\xff" * 40,
    "onnx: groups": b"\x08\x08\x0b\x0b\x0b",
    "onnx: no graph": b"\x08\x08\x12\x02ab" + bytes(0),
    "onnx: a part larger than the whole": b"\x08\x08\x3a\x04\x2a\x7fab",
    "zip: cut off": b"PK\x03\x04" + bytes(3000),
    "zip: a directory beyond the file": b"PK\x03\x04PK\x05\x06"
    + struct.pack("<4HIIH", 0, 0, 1, 1, 2**31, 4, 0),
    "zip64: a directory beyond the file": b"PK\x03\x04PK\x06\x07"
    + struct.pack("<IQI", 0, 2**60, 1)
    + b"PK\x05\x06"
    + struct.pack("<4HIIH", 0, 0, 1, 1, 2**32 - 1, 4, 0),
    "pickle: cut off": b"\x80\x02}q\x00",
    "pickle: a memo without end": b"\x80\x02}r\xff\xff\xff\xffX\xff\xff\xff\xff.",
    "pickle: an empty stack": b"\x80\x02.",
    "pickle: no mark": b"\x80\x02t.",
    "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers_are_refused_without_allocating(tmp_path: Path, what: str) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(HOSTILE[what])
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        identify(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "model.damaged"
    assert caught.value.facts["path"] == str(path)
    assert peak < max(2**20, 12 * len(HOSTILE[what]))


def test_a_pickle_that_runs_code_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"w": Evil(), "x": OrderedDict()}, 2))
    assert identify(path).format == "pickle"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps([Evil(), Evil()], 4))
    assert identify(path).format == "pickle"
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_contains_itself(tmp_path: Path) -> None:
    value: dict[str, Any] = {"w": 1}
    value["self"] = [value, value]
    path = tmp_path / "m.ckpt"
    path.write_bytes(pickle.dumps(value, 4))
    assert identify(path).parameters == 0


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(80 * 2**20))
    with pytest.raises(InputError) as caught:
        identify(path)
    assert caught.value.code == "model.damaged"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello", bytes(1000)])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        identify(path)
    assert caught.value.code == "model.unrecognised"


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(NotFound):
            identify(path)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_file_cut_anywhere_is_never_more_than_an_input_error(tmp_path: Path, cut: int) -> None:
    shapes = {"generator.model.1.bn_l.running_mean": (4,)}
    made = [
        weights.safetensors(tmp_path / "a", shapes),
        weights.gguf(tmp_path / "b", shapes),
        weights.torch_zip(tmp_path / "c", weights.state(shapes)),
        weights.onnx_model(
            tmp_path / "d",
            {"input": (FLOAT, [1, 4, "h", "w"])},
            {"output": (FLOAT, [1, 3, "h", "w"])},
            shapes,
        ),
    ]
    for path in made:
        content = path.read_bytes()
        path.write_bytes(content[:cut])
        if cut < len(content):
            try:
                identify(path)
            except InputError as error:
                assert error.code in ("model.damaged", "model.unrecognised")
