"""A picture of a format or a kind that is not read: one sentence with what it is and what to do."""

import struct

import numpy as np
import pytest

from mnist_sgd_serve.images.decode import decode
from mnist_sgd_serve.images.errors import NotAnImage, UnsupportedFormat
from picture_files import DRAWING, GREY, bmp, chunk, png, tiff
from pictures import encode

COLOURS = DRAWING.convert("RGB")
RGB = np.dstack([GREY] * 3)
LIGHT_INK = np.dstack([np.full_like(GREY, 255), GREY])
JPEG = encode(DRAWING, "JPEG", quality=95)


def media(brand: bytes, *others: bytes) -> bytes:
    """The start of a file of the ISO base media format."""
    brands = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(40)


def tga(kind: int) -> bytes:
    return encode(DRAWING, "TGA", compression="tga_rle" if kind == 11 else None)


SENT = "cannot be read: save it as PNG, JPEG, BMP, GIF, WebP or TIFF"
OTHER_FORMATS = {
    "a HEIC": [
        media(brand, b"mif1", brand)
        for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
    ]
    + [media(b"mif1", b"heic"), media(b"msf1", b"hevc")],
    "an AVIF": [
        media(b"avif", b"mif1"),
        media(b"mif1", b"avif", b"miaf"),
        media(b"avis", b"msf1"),
    ],
    "a HEIF": [media(b"mif1", b"jpeg")],
    "a JPEG 2000": [
        encode(DRAWING, "JPEG2000"),
        encode(DRAWING, "JPEG2000", no_jp2=True),
        media(b"j2ki"),
    ],
    "a JPEG XL": [b"\xff\x0a1&\x08", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "a JPEG XR": [b"II\xbc\1"],
    "an SVG": [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0' encoding='UTF-8'?>\n<!-- a > b --><svg>",
        b"<!DOCTYPE svg [<!ENTITY a '>'>]>\n<svg>",
        b"\xef\xbb\xbf\n<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
        "<?xml version='1.0' encoding='UTF-16'?><svg/>".encode("utf-16"),
    ],
    "a PBM": [encode(DRAWING.convert("1"), "PPM"), b"P1\n# a comment\n40 60\n0 1"],
    "a PGM": [encode(DRAWING, "PPM"), b"P5 40 60 255 ", b"P2\r\n40", b"P5#made by\n40 60"],
    "a PPM": [encode(COLOURS, "PPM"), b"P3\t40 60"],
    "a PAM": [b"P7\nWIDTH 40\nHEIGHT 60\n"],
    "a PFM": [b"Pf\n40 60\n-1.0\n", b"PF 40 60 1.0"],
    "an ICO": [encode(DRAWING, "ICO")],
    "a CUR": [b"\0\0\2\0\1\0" + bytes(40)],
    "an ICNS": [encode(DRAWING.convert("RGBA"), "ICNS")],
    "a TGA": [tga(3), tga(11), encode(DRAWING.convert("P"), "TGA"), encode(COLOURS, "TGA")],
    "a PCX": [encode(DRAWING, "PCX"), encode(COLOURS, "PCX")],
    "a DDS": [encode(COLOURS, "DDS")],
    "a DIB": [encode(DRAWING, "DIB")],
    "an OS/2 bitmap array": [b"BA" + bytes(12) + bmp(GREY, palette=range(256))],
    "an SGI": [encode(DRAWING, "SGI")],
    "an XBM": [encode(DRAWING.convert("1"), "XBM")],
    "an XPM": [b"/* XPM */\nstatic char *a[] = {"],
    "a QOI": [encode(COLOURS, "QOI")],
    "an EPS": [encode(DRAWING, "EPS")],
    "a PDF": [encode(DRAWING, "PDF")],
    "a PSD": [b"8BPS\0\1" + bytes(40)],
    "an XCF": [b"gimp xcf v011\0"],
    "a DICOM": [bytes(128) + b"DICM"],
    "a FITS": [b"SIMPLE  =                    T"],
    "an OpenEXR": [b"\x76\x2f\x31\x01" + bytes(40)],
    "a Radiance HDR": [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n"],
    "a WMF": [b"\xd7\xcd\xc6\x9a" + bytes(40)],
    "an EMF": [b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(40)],
    "an MNG": [b"\x8aMNG\r\n\x1a\n"],
    "a JNG": [b"\x8bJNG\r\n\x1a\n"],
    "a DjVu": [b"AT&TFORM\0\0\0\x10DJVM"],
    "a Canon raw (CR2)": [b"II*\0\x10\0\0\0CR\2\0"],
    "a Canon raw (CR3)": [media(b"crx ")],
    "a Fujifilm raw": [b"FUJIFILMCCD-RAW 0201"],
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_an_image_of_another_format_is_called_what_it_is(name: str) -> None:
    for content in OTHER_FORMATS[name]:
        with pytest.raises(UnsupportedFormat) as refused:
            decode(content, tiff=True)
        assert str(refused.value) == f"{name} image {SENT}"


def as_frame(marker: int, bits: int = 8) -> bytes:
    """The JPEG with another kind of frame."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[:at] + bytes([0xFF, marker, *JPEG[at + 2 : at + 4], bits]) + JPEG[at + 5 :]


def dnl_jpeg() -> bytes:
    """The JPEG with its height behind its scan: ITU-T T.81, section B.2.5."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + b"\0\0" + JPEG[at + 2 : -2] + b"\xff\xdc\0\4\0\x3c\xff\xd9"


def os2_bmp(header: int) -> bytes:
    """A BMP whose header ends after so many bytes."""
    whole = bmp(GREY, palette=range(256))
    return whole[:14] + struct.pack("<I", header) + whole[18 : 14 + header] + whole[54:]


def ios_png() -> bytes:
    """As Xcode writes it: a chunk before the first, and pixels without the header of zlib."""
    whole = png(GREY, 0).replace(b"\x78\x9c", b"", 1)
    return whole[:8] + chunk(b"CgBI", b"P\0 \2") + whole[8:]


UNUSUAL = {
    "a 12-bit JPEG image": as_frame(0xC1, 12),
    "a 16-bit JPEG image": as_frame(0xC3, 16),
    "a JPEG-LS image": as_frame(0xF7),
    "a hierarchical JPEG image": as_frame(0xC5),
    "a PNG image for iOS alone (CgBI)": ios_png(),
    "a BMP image with unusual colour masks": bmp(
        (GREY.astype("<u2") >> 4) * 0x111, compression=3, masks=(0xF00, 0xF0, 0xF), header=52
    ),
    "a BMP image of 2 bits a pixel": bmp(GREY // 64, bits=2, palette=range(0, 256, 85)),
    "a BMP image with PNG data in it": bmp(GREY, compression=5),
    "a BMP image with JPEG data in it": bmp(GREY, compression=4),
    "a BMP image with OS/2 compression": bmp(GREY // 128, bits=1, compression=3, header=64),
    "a BMP image with an OS/2 header of 16 bytes": os2_bmp(16),
    "a BMP image with an OS/2 header of 48 bytes": os2_bmp(48),
    "a BMP image with masks for its colours and its alpha (BI_ALPHABITFIELDS)": bmp(
        np.dstack([RGB, GREY]), compression=6, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    ),
    "a JPEG image whose height is stated after its pixels (DNL)": dnl_jpeg(),
    "a big-endian BigTIFF image": tiff(GREY, order=">", big=True),
    "a TIFF image with JPEG 2000 compression": tiff(GREY, compression=34712),
    "a TIFF image with JPEG XL compression": tiff(GREY, compression=50002),
    "a TIFF image with LERC compression": tiff(GREY, compression=34887),
    "a TIFF image with 64-bit floating-point grey pixels": tiff(GREY.astype(np.float64)),
    "a TIFF image with 16-bit floating-point grey pixels": tiff(GREY.astype(np.float16)),
    "a TIFF image with 3 x 32-bit floating-point RGB pixels": tiff(RGB.astype(np.float32)),
    "a TIFF image with 10-bit grey pixels": tiff(GREY.astype(np.uint16), bits=10),
    "a TIFF image with 32-bit grey pixels": tiff(GREY * np.uint32(99), order=">"),
    "a TIFF image with 2 x 16-bit grey pixels": tiff(LIGHT_INK * np.uint16(257), extra=2),
    "a TIFF image with 2 x 8-bit grey pixels in separate planes": tiff(
        LIGHT_INK, extra=2, planes=True
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_kind_of_a_format_that_is_not_read_is_called_what_it_is(name: str) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        decode(UNUSUAL[name], tiff=True)
    assert str(refused.value) == f"{name} cannot be read: save it as PNG"


NOT_IMAGES = {
    "a ZIP archive: unpack it first": b"PK\3\4" + bytes(40),
    "a gzip file: unpack it first": b"\x1f\x8b\x08" + bytes(40),
    "a video (MP4 or QuickTime): save one of its frames": media(b"isom", b"mp41"),
    "a video (Matroska or WebM): save one of its frames": b"\x1aE\xdf\xa3" + bytes(40),
    "a video (AVI): save one of its frames": b"RIFF\0\0\0\0AVI LIST",
    "a sound file (WAV)": b"RIFF\0\0\0\0WAVEfmt ",
    "a web page: the download may have ended at an error": b"\n<!doctype html>\n<html lang='en'>",
    "a Git LFS pointer: git lfs pull gets the file": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    ),
    "a NumPy array: make a picture of it": b"\x93NUMPY\1\0" + bytes(40),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_a_file_that_is_no_image_is_called_what_it_is(name: str) -> None:
    content = NOT_IMAGES[name]
    with pytest.raises(NotAnImage) as refused:
        decode(content)
    assert str(refused.value) == f"these {len(content)} bytes are not an image but {name}"
