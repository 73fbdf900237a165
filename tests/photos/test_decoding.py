"""Every image file becomes a square of RGB pixels, or one line that says why not."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pipeline.harness.errors import DataError
from pipeline.harness.lacks import lack
from pipeline.photos.decoding import read_image

RED = (200, 30, 40)
PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
).resize((120, 96))


def palette(**info: Any) -> Image.Image:
    """Return a palette picture that is all colour 1, red."""
    image = Image.new("P", (12, 10), 1)
    image.putpalette([0, 0, 255, *RED])
    image.info.update(info)
    return image


def marked(mode: str, colour: Any) -> Image.Image:
    """Return a picture that is all one colour, which its file declares transparent."""
    image = Image.new(mode, (12, 10), colour)
    image.info["transparency"] = colour
    return image


def grey16(value: int, kind: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((10, 12), value, kind))


MODES = {
    "1-bit": (Image.new("1", (12, 10), 1), "png", (255, 255, 255)),
    "grey": (Image.new("L", (12, 10), 77), "png", (77, 77, 77)),
    "RGB": (Image.new("RGB", (12, 10), RED), "png", RED),
    "opaque RGBA": (Image.new("RGBA", (12, 10), (*RED, 255)), "png", RED),
    "transparent RGBA": (Image.new("RGBA", (12, 10), (*RED, 0)), "png", (255, 255, 255)),
    "half-transparent RGBA": (Image.new("RGBA", (12, 10), (0, 0, 0, 51)), "png", (204, 204, 204)),
    "grey with alpha": (Image.new("LA", (12, 10), (0, 51)), "png", (204, 204, 204)),
    "palette": (palette(), "png", RED),
    "palette of a GIF": (palette(), "gif", RED),
    "palette, transparent colour": (palette(transparency=1), "gif", (255, 255, 255)),
    "palette, alpha": (palette(transparency=b"\xff\x00"), "png", (255, 255, 255)),
    "transparent level of grey": (marked("L", 77), "png", (255, 255, 255)),
    "transparent colour": (marked("RGB", RED), "png", (255, 255, 255)),
    "CMYK": (Image.new("CMYK", (12, 10), (0, 255, 255, 0)), "tiff", (255, 0, 0)),
    "CMYK of a JPEG": (Image.new("CMYK", (12, 10), (0, 0, 0, 255)), "jpeg", (0, 0, 0)),
    "YCbCr": (Image.new("YCbCr", (12, 10), (77, 128, 128)), "tiff", (77, 77, 77)),
    "16-bit white": (grey16(65535), "png", (255, 255, 255)),
    "16-bit": (grey16(77 * 257), "png", (77, 77, 77)),
    "16-bit, below half": (grey16(77 * 257 + 128), "png", (77, 77, 77)),
    "16-bit, big-endian": (grey16(77 * 257, ">u2"), "tiff", (77, 77, 77)),
    "16 of 32 bits": (grey16(77 * 257, "<i4"), "tiff", (77, 77, 77)),
    "WebP with alpha": (Image.new("RGBA", (12, 10), (*RED, 0)), "webp", (255, 255, 255)),
    "PPM": (Image.new("RGB", (12, 10), RED), "ppm", RED),
    "BMP": (Image.new("RGB", (12, 10), RED), "bmp", RED),
    "JPEG 2000": (Image.new("RGB", (12, 10), RED), "jp2", RED),
}


@pytest.mark.parametrize("kind", MODES)
def test_every_kind_of_image_becomes_rgb_on_white(kind: str, tmp_path: Path) -> None:
    image, suffix, expected = MODES[kind]
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    pixels = read_image(path, 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.full((8, 8, 3), expected))


def test_the_transparent_level_of_a_16_bit_image_is_white(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    content = encoded(grey16(500), "png")
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + chunk(b"tRNS", struct.pack(">H", 500)) + content[at:])
    assert np.all(read_image(path, 8) == 255)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=arrays(np.uint8, (9, 9, 3)))
def test_an_image_of_the_wanted_size_keeps_its_pixels(pixels: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read_image(path, 9), pixels)


def test_the_longer_side_is_cropped_at_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    flag = np.zeros((20, 60, 3), np.uint8)
    for stripe in range(3):
        flag[:, 20 * stripe : 20 * (stripe + 1), stripe] = 255
    for picture in (flag, flag.transpose(1, 0, 2)):
        Image.fromarray(picture).save(path)
        middle = read_image(path, 10)
        assert np.array_equal(middle[2:-2, 2:-2], np.full((6, 6, 3), (0, 255, 0)))


def test_a_padded_picture_is_whole_and_the_rest_is_black(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for shape in ((20, 60, 3), (60, 20, 3), (40, 40, 3)):
        Image.fromarray(np.full(shape, RED, np.uint8)).save(path)
        rows, columns = (12 * side // max(shape) for side in shape[:2])
        expected = np.zeros((12, 12, 3), np.uint8)
        top, left = (12 - rows) // 2, (12 - columns) // 2
        expected[top : top + rows, left : left + columns] = RED
        assert np.array_equal(read_image(path, 12, "pad"), expected)


def test_fine_detail_is_averaged_and_not_picked(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkerboard).save(path)
    assert np.all(np.abs(read_image(path, 8).astype(int) - 127) <= 4)


def test_a_large_jpeg_looks_as_if_it_had_been_decoded_in_full(tmp_path: Path) -> None:
    picture = PICTURE.resize((1200, 960), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "image.png")
    picture.save(tmp_path / "image.jpg", quality=95)
    lossless, photograph = (
        read_image(tmp_path / f"image.{suffix}", 32) for suffix in ("png", "jpg")
    )
    assert np.abs(lossless.astype(int) - photograph).mean() < 3


TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> how a camera turns an upright picture before it stores it."""


@pytest.mark.parametrize("orientation", TURNED)
def test_an_image_is_turned_as_its_exif_says(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    way = TURNED[orientation]
    PICTURE.save(tmp_path / "upright.png")
    (PICTURE if way is None else PICTURE.transpose(way)).save(tmp_path / "turned.png", exif=exif)
    upright, turned = (read_image(tmp_path / f"{name}.png", 96) for name in ("upright", "turned"))
    assert np.array_equal(upright, turned)


def refusal(path: Path, content: bytes) -> str:
    """Return the line with which a file is refused, without its path."""
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path, 8)
    line = str(caught.value)
    assert line.startswith(f"{path}: not a readable image (")
    assert "\n" not in line
    return line


def encoded(image: Image.Image, suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG", "jp2": "JPEG2000"}.get(suffix, suffix), **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "jp2", "png", "ppm", "tiff", "webp"])
def test_a_truncated_image_is_refused(suffix: str, tmp_path: Path) -> None:
    content = encoded(PICTURE, suffix)
    refusal(tmp_path / "image", content[: len(content) // 2])


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_a_file_that_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    refusal(tmp_path / "image.png", content)


def test_an_unknown_format_is_told_which_are_known(tmp_path: Path) -> None:
    assert "JPEG, JPEG2000, PNG" in refusal(tmp_path / "notes.txt", b"a text")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused(side: int, tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert "decompression bomb" in refusal(tmp_path / "bomb.png", bomb)


def test_an_animated_image_is_its_first_picture_whatever_its_name(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (9, 9), RED), Image.new("RGB", (9, 9), "blue")
    for suffix in ("gif", "png", "webp", "tiff"):
        path = tmp_path / "image.txt"
        options = {"lossless": True} if suffix == "webp" else {}
        path.write_bytes(encoded(first, suffix, save_all=True, append_images=[second], **options))
        assert np.array_equal(read_image(path, 9), np.full((9, 9, 3), RED))


EMPTY = {
    "ppm": b"P6 0 5 255\n",
    "gif": b"GIF89a" + struct.pack("<HHBBB", 0, 0, 0, 0, 0) + b"," + b"\0" * 9 + b"\2\0;",
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 0, 0, 1, 24, *[0] * 6),
    "png": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b""))
    + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("suffix", EMPTY)
def test_an_image_without_pixels_is_refused(suffix: str, tmp_path: Path) -> None:
    refusal(tmp_path / f"image.{suffix}", EMPTY[suffix])


@pytest.mark.parametrize("error", [MemoryError(), TypeError("a float"), ZeroDivisionError("by 0")])
def test_whatever_pillow_stumbles_over_the_file_is_named(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", stumble)  # seen with 1 of 6,000 damaged files
    assert (str(error) or "MemoryError") in refusal(tmp_path / "image", b"")
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "image", 8)
    assert lack(caught.value) == ""


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    floating = Image.fromarray(np.ones((4, 4), np.float32))
    assert "floating-point" in refusal(tmp_path / "image.tiff", encoded(floating, "tiff"))
    for value in (70_000, -1):
        wide = Image.fromarray(np.full((4, 4), value, np.int32))
        assert "outside 0..65535" in refusal(tmp_path / "image.tiff", encoded(wide, "tiff"))


def colours_of_16_bits(value: int) -> bytes:
    """Return a PNG, which Pillow cannot write, of one colour."""
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + struct.pack(">H", value) * 12) * 4)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


DARK = {
    "12 of 16 bits": encoded(grey16(4095), "png"),
    "12 of 32 bits": encoded(grey16(4095, "<i4"), "tiff"),
    "12 of 16 bits a colour": colours_of_16_bits(4095),
}


@pytest.mark.parametrize("kind", DARK)
def test_16_bits_of_which_few_are_used_are_refused(kind: str, tmp_path: Path) -> None:
    line = refusal(tmp_path / "image.png", DARK[kind])
    assert "use 12 bits or fewer; scale them to 0..65535, or to 8 bits" in line


@pytest.mark.parametrize(
    ("content", "level"),
    [
        (encoded(grey16(4096), "png"), 16),
        (colours_of_16_bits(4096), 16),
        (encoded(grey16(0), "png"), 0),
        (colours_of_16_bits(0), 0),
    ],
)
def test_dark_and_black_images_of_16_bits_are_read(
    content: bytes, level: int, tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(content)
    assert np.all(read_image(tmp_path / "image.png", 8) == level)


EXIF = Image.Exif()
EXIF[0x0112] = 6
FILES = [
    encoded(PICTURE, "png", exif=EXIF),
    encoded(PICTURE, "jpg", exif=EXIF),
    encoded(PICTURE, "gif"),
    encoded(PICTURE, "webp", exif=EXIF),
    encoded(grey16(9_000), "tiff"),
    colours_of_16_bits(4095),
    encoded(palette(transparency=1), "png"),
]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from(FILES),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_never_shows_a_traceback(
    content: bytes, damage: list[tuple[int, int]], tmp_path: Path
) -> None:
    damaged = bytearray(content)
    for at, value in damage:
        damaged[at % len(damaged)] = value
    path = tmp_path / "image"
    path.write_bytes(damaged)
    with suppress(DataError):
        assert read_image(path, 8).shape == (8, 8, 3)
