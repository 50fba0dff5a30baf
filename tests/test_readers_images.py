"""Readers of folders of images: what a person sees, one size, and what is left out."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagradient.data.readers import ReadOptions, read, read_like
from datagradient.data.readers.images import as_seen, common_size
from datagradient.errors import UserError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def image(value=100, size=(8, 8), mode="L"):
    return Image.new(mode, size, value)


@pytest.fixture
def folder(tmp_path):
    """Twelve grey images of 8 × 8 pixels in the classes cat and dog."""
    for name in ("dog", "cat"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            image(10 * number + (name == "dog")).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def test_subfolders_are_classes_and_paths_decide_the_order(folder):
    source = read(folder)
    assert source.classes == source.dataset.class_names == ("cat", "dog")
    assert source.names == tuple(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(6))
    assert source.dataset.samples.shape == (12, 8, 8, 1) and source.dataset.samples.dtype == np.uint8
    assert source.dataset.samples[:, 0, 0, 0].tolist() == [10 * n + k for k in (0, 1) for n in range(6)]
    assert source.dataset.labels.tolist() == [0] * 6 + [1] * 6 and source.rows.tolist() == list(range(12))
    assert source.said == () and source.facts["rows"] == 12 and json.dumps(source.facts)
    before = source.facts["sha256"]
    image(99).save(folder / "cat" / "0.png")
    assert read(folder).facts["sha256"] != before


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    for name in ("10", "9", "2"):
        (tmp_path / name).mkdir()
        for number in range(5):
            image().save(tmp_path / name / f"{number}.png")
    assert read(tmp_path).dataset.class_names == ("2", "9", "10")


def saved(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue()))


def half(mode, left, right):
    picture = Image.new(mode, (16, 8), left)
    picture.paste(right, (8, 0, 16, 8))
    return picture


def palette():
    picture = half("P", 0, 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    return picture


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    picture = half("RGB", RED, WHITE)
    return saved(picture, "PNG", exif=exif)


SIXTEEN = Image.fromarray(np.repeat(np.array([[0, 65535]], np.uint16), 8, 1).repeat(8, 0))


@pytest.mark.parametrize(
    ("picture", "left", "right"),
    [
        (lambda: saved(half("1", 0, 1), "PNG"), (0, 0, 0), WHITE),
        (lambda: saved(half("L", 7, 200), "PNG"), (7,) * 3, (200,) * 3),
        (lambda: saved(half("LA", (7, 255), (7, 0)), "PNG"), (7,) * 3, WHITE),
        (lambda: saved(half("RGBA", (255, 0, 0, 255), (0, 0, 0, 0)), "PNG"), RED, WHITE),
        (lambda: saved(half("RGBA", (255, 0, 0, 255), (0, 0, 0, 128)), "PNG"), RED, (127,) * 3),
        (lambda: saved(palette(), "PNG"), RED, (0, 0, 255)),
        (lambda: saved(palette(), "PNG", transparency=1), RED, WHITE),
        (lambda: saved(palette(), "GIF"), RED, (0, 0, 255)),
        (lambda: saved(half("RGB", RED, WHITE), "PNG", transparency=(255, 0, 0)), WHITE, WHITE),
        (lambda: saved(half("CMYK", (0, 255, 255, 0), (0, 0, 0, 0)), "TIFF"), RED, WHITE),
        (lambda: saved(SIXTEEN, "PNG"), (0, 0, 0), WHITE),
        (lambda: half("F", 0.0, 1.0), (0, 0, 0), WHITE),
        (lambda: half("I", 0, 65535), (0, 0, 0), WHITE),
        (lambda: half("I", 7, 200), (7,) * 3, (200,) * 3),
        (lambda: half("I", -5, 1000), (0, 0, 0), WHITE),
        (lambda: half("F", float("nan"), 255.0), (0, 0, 0), WHITE),
    ],
)
def test_every_mode_comes_out_as_a_person_sees_it(picture, left, right):
    seen = as_seen(picture())
    assert seen.mode == "RGB" and seen.size == (16, 8)
    assert np.allclose(seen.getpixel((1, 4)), left, atol=1) and np.allclose(seen.getpixel((14, 4)), right, atol=1)


def test_images_are_turned_as_their_exif_says():
    seen = as_seen(turned())
    assert seen.size == (8, 16) and seen.getpixel((4, 1)) == RED and seen.getpixel((4, 14)) == WHITE


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(32, 16)] * 3, (32, 16)),
        ([(480, 640)] * 3, (48, 64)),
        ([(4, 6)] * 3, (8, 8)),
        ([(1000, 10)] * 2, (64, 8)),
        ([(20, 30), (40, 22), (24, 24)], (22, 22)),
        ([(200, 300), (400, 220), (24, 24)], (64, 64)),
        ([(2, 3), (3, 2)], (8, 8)),
    ],
)
def test_one_size(sizes, expected):
    assert common_size(sizes) == expected


def test_images_of_several_sizes_are_resized_and_it_is_said(folder):
    image((0, 255, 0), (40, 100), "RGB").save(folder / "cat" / "6.jpg", quality=100)
    source = read(folder)
    assert source.dataset.samples.shape == (13, 8, 8, 3)
    assert np.abs(source.dataset.samples[6].astype(int) - (0, 255, 0)).max() < 5
    assert source.said == (
        "images of 2 sizes, with sides of 8 to 100 pixels, were resized to 8 × 8 pixels (height × width), whatever "
        "their proportions",
    )


def test_large_images_of_one_size_keep_their_proportions(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            half("RGB", RED, WHITE).resize((400, 200)).save(tmp_path / name / f"{number}.jpg", quality=95)
    source = read(tmp_path)
    assert source.dataset.samples.shape == (10, 32, 64, 3)
    assert source.said == ("images of 200 × 400 were resized to 32 × 64 pixels (height × width)",)
    assert source.dataset.samples[0, 16, 60].min() > 240 and source.dataset.samples[0, 16, 4, 1] < 15


def test_images_that_cannot_be_read_are_set_aside_by_name(folder, monkeypatch):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(whole, "PNG")
    (folder / "cat" / "cut.png").write_bytes(whole.getvalue()[:2000])
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    (folder / "dog" / "false.jpg").write_text("no image at all")
    (folder / "dog" / "page.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "dog" / "link.png").symlink_to("nowhere.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image(3, (40, 40)).save(folder / "dog" / "bomb.png")
    source = read(folder)
    reasons = {item.name: item.reason for item in source.set_aside}
    assert set(reasons) == {
        "cat/cut.png",
        "cat/empty.jpg",
        "dog/bomb.png",
        "dog/false.jpg",
        "dog/link.png",
        "dog/page.jpg",
    }
    assert reasons["dog/false.jpg"] == reasons["dog/page.jpg"] == "no image of a known format"
    assert (
        reasons["cat/empty.jpg"] == "cannot be read (the file is empty)" and "1,000 pixels" in reasons["dog/bomb.png"]
    )
    assert len(source.rows) == 12 and source.facts["rows"] == 18
    assert source.dataset.samples.shape == (12, 8, 8, 1), "damaged images do not decide about the size"
    assert "2 rows set aside, no image of a known format: 'dog/false.jpg', 'dog/page.jpg'" in source.said


def test_truncated_images_do_not_decide_about_the_size(folder, monkeypatch):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(whole, "PNG")
    (folder / "cat" / "cut.png").write_bytes(whole.getvalue()[:20_000])
    source = read(folder)
    assert source.dataset.samples.shape == (12, 8, 8, 1) and len(source.set_aside) == 1
    assert all("resized" not in sentence for sentence in source.said)


def test_what_systems_and_programs_leave_behind_is_no_class(folder):
    for name in (".ipynb_checkpoints", "__MACOSX", "empty", "notes"):
        (folder / name).mkdir()
        if name != "empty":
            image().save(folder / name / ("x.png" if name != "notes" else "._x.png"))
    for name in (".DS_Store", "Thumbs.db", "cat/.DS_Store", "cat/._0.png", "cat/Thumbs.db", "readme.txt", "cat/0.xml"):
        (folder / name).write_text("x")
    image().save(folder / "loose.png")
    source = read(folder)
    assert source.classes == ("cat", "dog") and len(source.rows) == 12
    assert source.said == (
        "1 image directly in the folder, in no class: left out",
        "subfolders without images are no classes: 'empty', 'notes'",
        "hidden files and files of the system were left out: '.DS_Store', '.ipynb_checkpoints', 'Thumbs.db', "
        "'__MACOSX', 'cat/.DS_Store', 'cat/._0.png', 'cat/Thumbs.db', 'notes/._x.png'",
        "files that are no images were left out: 1 .txt, 1 .xml",
    )


@pytest.mark.parametrize(
    "name", ['"quoted" it\'s.png', " spaces .png", "two\nlines.png", "<script>alert(1)<.png", "é.PNG"]
)
def test_odd_names_of_files_are_kept(folder, name):
    image().save(folder / "cat" / name, "PNG")
    assert f"cat/{name}" in read(folder).names


def test_a_name_that_is_not_utf8_is_set_aside(folder):
    with open(os.path.join(os.fsencode(folder), b"cat", b"\xff.png"), "wb") as stream:  # noqa: PTH118
        image().save(stream, "PNG")
    source = read(folder)
    assert [(item.name, item.reason) for item in source.set_aside] == [
        ("cat/\\xff.png", "has a name that is not UTF-8: rename it")
    ]
    os.mkdir(os.path.join(os.fsencode(folder), b"\xfe"))  # noqa: PTH102, PTH118
    image().save(Path(os.fsdecode(os.path.join(os.fsencode(folder), b"\xfe", b"a.png"))))  # noqa: PTH118
    with pytest.raises(UserError, match="has a name that is no text in UTF-8: rename it") as refusal:
        read(folder)
    str(refusal.value).encode()


def test_links_out_of_the_folder_and_loops_are_not_followed(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    image().save(tmp_path / "outside" / "secret.png")
    (folder / "outside").symlink_to(tmp_path / "outside")
    (folder / "cat" / "out.png").symlink_to(tmp_path / "outside" / "secret.png")
    (folder / "cat" / "loop").symlink_to(folder)
    (folder / "cat" / "self.png").symlink_to("self.png")
    (folder / "cat" / "inside.png").symlink_to(folder / "dog" / "5.png")
    source = read(folder)
    assert source.classes == ("cat", "dog") and len(source.rows) == 13
    assert source.dataset.samples[source.names.index("cat/inside.png"), 0, 0, 0] == 51
    (sentence,) = (sentence for sentence in source.said if "links" in sentence)
    assert all(f"'{name}'" in sentence for name in ("outside", "cat/out.png", "cat/loop"))


def test_images_in_folders_below_a_class_belong_to_it(folder):
    (folder / "cat" / "more" / "deep").mkdir(parents=True)
    image(78).save(folder / "cat" / "more" / "deep" / "y.png")
    (folder / "cat" / "more" / "x.png").mkdir()
    assert "cat/more/deep/y.png" in read(folder).names


def test_a_file_without_an_ending_may_be_an_image_and_a_pipe_is_none(folder):
    image(77).save(folder / "cat" / "plain", "PNG")
    os.mkfifo(folder / "cat" / "pipe.png")
    source = read(folder)
    assert "cat/plain" in source.names and len(source.rows) == 13
    assert source.said == ("files that are no images were left out: 1 .png",)


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda folder: None, {"target": "y"}, "--target is for tables; .*subfolders are the classes: leave it out"),
        (lambda folder: None, {"drop": ("y",)}, "--drop is for tables"),
        (lambda folder: [path.unlink() for path in folder.glob("dog/*")], {}, "the subfolders: holds the one class"),
        (lambda folder: [path.unlink() for path in folder.glob("*/*")], {}, "is a folder without subfolders of images"),
        (lambda folder: [path.write_text("x") for path in folder.glob("*/*")], {}, "no image that can be read, the "
         "first is 'cat/0.png': no image of a known format"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_read_is_refused(folder, prepare, options, message):
    prepare(folder)
    with pytest.raises(UserError, match=message) as refusal:
        read(folder, ReadOptions(**options))
    assert "\n" not in str(refusal.value)


def test_a_second_folder_gets_size_colours_and_classes_of_the_first(folder, tmp_path):
    first = read(folder)
    for name in ("cat", "dog"):
        (tmp_path / "second" / name).mkdir(parents=True)
        image(RED, (30, 20), "RGB").save(tmp_path / "second" / name / "1.png")
    (tmp_path / "second" / "cat" / "2.png").write_text("no image")
    source = read_like(tmp_path / "second", first)
    assert source.dataset.samples.shape == (2, 8, 8, 1) and (source.dataset.samples == 76).all()
    assert "colours were turned to grey, as in the first file" in source.said and len(source.set_aside) == 1
    (tmp_path / "second" / "owl").mkdir()
    image().save(tmp_path / "second" / "owl" / "1.png")
    with pytest.raises(UserError, match="row 3: 'owl' is none of the classes of the first file, 'cat', 'dog'"):
        read_like(tmp_path / "second", first)
    table = read((np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2))
    with pytest.raises(UserError, match="holds images, and the first data tables"):
        read_like(folder, table)
    with pytest.raises(UserError, match="holds tables, and the first data images"):
        read_like((np.ones((20, 2)), np.arange(20) % 2), first)
