"""Pictures, films and sounds in every form that they come in, and what may not be meant."""

from __future__ import annotations

import io
import math
import wave
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frameworm.experiment import Experiment
from frameworm.experiment.errors import InputError
from frameworm.experiment.recording.media import Medium, encode_audio, encode_image, encode_video


def seen(medium: Medium) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(medium.content)))


@pytest.mark.parametrize(
    ("shape", "mode"),
    [
        *(((5, 6), "L"), ((5, 6, 1), "L"), ((1, 5, 6), "L"), ((5, 6, 2), "LA"), ((2, 5, 6), "LA")),
        *(((5, 6, 3), "RGB"), ((3, 5, 6), "RGB"), ((5, 6, 4), "RGBA"), ((4, 5, 6), "RGBA")),
        *(((1, 5, 6, 3), "RGB"), ((1, 3, 5, 6), "RGB"), ((1, 1, 5, 6), "L"), ((1, 1), "L"), ((1, 1, 3), "RGB")),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16", "float32", "float64", "bfloat16"])
def test_every_layout_and_kind_of_a_tensor(shape, mode, dtype):
    tensor = torch.ones(shape, dtype=getattr(torch, dtype))
    medium = encode_image(tensor)
    picture = Image.open(io.BytesIO(medium.content))
    assert picture.mode == mode and medium.doubt == ""
    assert picture.size == (medium.about["width"], medium.about["height"])
    assert set(np.asarray(picture).ravel()) == {1 if dtype in ("uint8", "int64") else 255}


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"]
)
def test_every_mode_of_pillow(mode):
    medium = encode_image(Image.new(mode, (6, 5)))
    assert Image.open(io.BytesIO(medium.content)).size == (6, 5)


def test_floats_of_pillow_are_those_of_an_array():
    array = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert (seen(encode_image(Image.fromarray(array))) == seen(encode_image(array))).all()


@pytest.mark.parametrize(
    ("array", "doubt"),
    [
        (np.full((4, 4), 100.0), "from 100 to 100; scale them first"),
        (np.full((4, 4), -1.0), "from -1 to -1"),
        (np.array([[-math.inf, 0.5]]), "from -inf to 0.5"),
        (np.full((4, 4), 1e-8), "to 1e-08 at most"),
        (Image.fromarray(np.full((4, 4), 200, np.float32)), "from 200 to 200"),
        (np.full((4, 4), 1.005), ""),
        (np.zeros((4, 4)), ""),
        (np.full((4, 4), math.nan), ""),
        (np.array([[math.nan, 0.5]]), ""),
    ],
)
def test_floats_that_may_not_be_meant_are_doubted(array, doubt):
    found = encode_image(array).doubt
    assert doubt in found and bool(doubt) == bool(found)


def test_a_doubt_is_told_once_for_a_name(tmp_path, recwarn):
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        with pytest.warns(UserWarning, match="image 'x': floats are clipped"):
            exp.log_image("x", np.full((4, 4), 100.0))
        exp.log_image("x", np.full((4, 4), 100.0))
        with pytest.warns(UserWarning, match="image 'y'"):
            exp.log_image("y", np.full((4, 4), 100.0))
        with pytest.warns(UserWarning, match="audio 's'.*±3000"):
            exp.log_audio("s", np.array([3000.0, -3000.0]), 8000)


@pytest.mark.parametrize(
    "data",
    [
        *(np.zeros((2, 3, 5, 7)), np.zeros((5, 5, 5)), np.zeros(5), np.zeros((0, 5)), np.zeros((5, 0, 3)), 7.0),
        *(np.full((2, 2), 256), np.full((2, 2), -1), np.zeros((2, 2), complex), np.array([["a"]]), None, object()),
        *(torch.zeros(2, 2, device="meta"), Image.new("RGB", (0, 0)), [[1], [2, 3]], np.zeros((2, 2), "m8[ns]")),
    ],
    ids=lambda data: f"{type(data).__name__}{getattr(data, 'shape', '')}",
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(InputError, match=r"image.*: "):
        encode_image(data)


def test_what_a_mask_hides_is_not_shown():
    hidden = np.ma.array([[0.5, 1.0]], mask=[[False, True]])
    assert seen(encode_image(hidden)).tolist() == [[128, 0]]
    assert seen(encode_image(np.ma.array([[7, 9]], mask=[[False, True]], dtype=np.uint8))).tolist() == [[7, 0]]


@pytest.mark.parametrize(
    ("shape", "frames", "size"),
    [
        *(((4, 8, 9), 4, (9, 8)), ((4, 8, 9, 3), 4, (9, 8)), ((4, 3, 8, 9), 4, (9, 8)), ((1, 4, 3, 8, 9), 4, (9, 8))),
        *(((2, 17_000, 4), 2, (4, 17_000)), ((2, 4, 17_000), 2, (17_000, 4))),
    ],
)
def test_every_layout_of_a_film(shape, frames, size):
    array = (np.arange(shape[-4] if len(shape) == 5 else shape[0]) * 60).astype(np.uint8)
    film = np.zeros(shape, np.uint8) + array.reshape(array.shape + (1,) * (len(shape) - 1 - (len(shape) == 5)))
    medium = encode_video(film, 10)
    picture = Image.open(io.BytesIO(medium.content))
    assert (picture.n_frames, picture.size) == (frames, size)
    assert (medium.about["frames"], medium.about["width"], medium.about["height"]) == (frames, *size)


@pytest.mark.parametrize("fps", [8, 8.0, np.float32(8), np.int64(8), torch.tensor(8.0)])
def test_frames_a_second_are_any_number(fps):
    assert encode_video(np.zeros((2, 4, 4), np.uint8), fps).about["fps"] == 8.0


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf, 1001, "8", None, [8, 9]])
def test_other_frames_a_second_are_refused(fps):
    with pytest.raises(InputError, match="fps: expected a number above 0, up to 1000, got"):
        encode_video(np.zeros((2, 4, 4), np.uint8), fps)


@pytest.mark.parametrize("data", [[], 5, {"a": 1}, [np.zeros((2, 2)), np.zeros((3, 3))], ["x.png"], np.zeros((2, 2))])
def test_what_is_no_film_is_refused(data):
    with pytest.raises(InputError, match=r"video.*: "):
        encode_video(data, 10)


@pytest.mark.parametrize(
    ("shape", "channels", "samples"),
    [
        *(((100,), 1, 100), ((100, 1), 1, 100), ((1, 100), 1, 100), ((100, 2), 2, 100), ((2, 100), 2, 100)),
        *(((1, 2, 100), 2, 100), ((1, 5), 1, 5), ((20, 30), 30, 20), ((0,), 1, 0)),
    ],
)
def test_every_layout_of_sound(shape, channels, samples):
    medium = encode_audio(torch.zeros(shape), 8000)
    with wave.open(io.BytesIO(medium.content)) as file:
        assert (file.getnchannels(), file.getnframes()) == (channels, samples)


def test_channels_stay_apart_in_both_layouts():
    left, right = np.full(50, 0.5), np.full(50, -0.5)
    both = [encode_audio(np.stack([left, right], axis), 8000).content for axis in (0, 1)]
    assert both[0] == both[1]
    with wave.open(io.BytesIO(both[0])) as file:
        assert np.frombuffer(file.readframes(1), "<i2").tolist() == [16384, -16384]


@pytest.mark.parametrize("rate", [8000, np.int64(8000), 8000.0, np.float32(8000), torch.tensor(8000)])
def test_a_sample_rate_is_any_whole_number(rate):
    about = encode_audio(np.zeros(8), rate).about
    assert about["sample_rate"] == 8000 and type(about["sample_rate"]) is int


@pytest.mark.parametrize("rate", [None, 0, -1, 44_100.5, "8000", True, 1_000_001, math.nan, [8000, 1]])
def test_other_sample_rates_are_refused(rate):
    with pytest.raises(InputError, match="sample_rate: expected samples a second, 1 to 1,000,000, got"):
        encode_audio(np.zeros(8), rate)


@pytest.mark.parametrize(
    "data", [np.zeros((2, 2, 9)), np.zeros((40, 50)), np.zeros(3, np.int32), np.zeros(3, complex), ["a"], None, 1.0]
)
def test_what_is_no_sound_is_refused(data: Any):
    with pytest.raises(InputError, match="audio: "):
        encode_audio(data, 8000)


def test_an_object_whose_library_fails_is_no_foreign_error(tmp_path):
    class Figure:
        def savefig(self, *arguments: Any, **options: Any) -> None:
            raise ZeroDivisionError("no canvas")

    def frames() -> Any:
        yield np.zeros((2, 2), np.uint8)
        raise ConnectionError("the simulator is gone")

    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for call in (
            lambda: exp.log_figure("f", Figure()),
            lambda: exp.log_image("i", Figure()),
            lambda: exp.log_video("v", frames()),
            lambda: exp.log_table("t", (row for row in frames()), columns=["a", "b"]),
        ):
            with pytest.raises(InputError, match=r"no canvas|simulator is gone"):
                call()
