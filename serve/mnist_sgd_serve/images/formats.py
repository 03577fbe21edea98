"""What a file is, by its first bytes and never by its name.

Six formats of pictures are read. The others are known by name, as are some files that people take
for pictures, so that a refusal says what the file really is. All of it looks at the first `HEAD`
bytes alone, once each.
"""

import re
from typing import NamedTuple, TypeVar

from mnist_sgd_serve.images.errors import NotAnImage, UnsupportedFormat

HEAD = 4096
"""Bytes that tell any of the formats: in an SVG, a comment may come first."""

Kind = TypeVar("Kind")


class Reader(NamedTuple):
    """A format that is read, and Pillow's class for it.

    Attributes:
        name: of the format.
        module: in the package PIL.
        image: the class in that module.
    """

    name: str
    module: str
    image: str


_READ = {
    b"\x89PNG\r\n\x1a\n": Reader("PNG", "PngImagePlugin", "PngImageFile"),
    b"\xff\xd8": Reader("JPEG", "JpegImagePlugin", "JpegImageFile"),
    b"BM": Reader("BMP", "BmpImagePlugin", "BmpImageFile"),
    b"GIF87a": Reader("GIF", "GifImagePlugin", "GifImageFile"),
    b"GIF89a": Reader("GIF", "GifImagePlugin", "GifImageFile"),
}
_WEBP = Reader("WebP", "WebPImagePlugin", "WebPImageFile")
_TIFF = Reader("TIFF", "TiffImagePlugin", "TiffImageFile")

_ALLOWED = ("PNG, JPEG, BMP, GIF", "WebP")
_ALLOWED_WITH_TIFF = ("PNG, JPEG, BMP, GIF, WebP", "TIFF")

_IMAGES = {
    b"II*\0\x10\0\0\0CR": "Canon raw (CR2)",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"II\xbc\x01": "JPEG XR",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"gimp xcf": "XCF",
    b"icns": "ICNS",
    b"qoif": "QOI",
    b"BPG\xfb": "BPG",
    b"FLIF": "FLIF",
    b"farbfeld": "farbfeld",
    b"DDS ": "DDS",
    b"\xabKTX ": "KTX",
    b"BLP1": "BLP",
    b"BLP2": "BLP",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"SIMPLE  =": "FITS",
    b"\x01\xda": "SGI",
    b"\x59\xa6\x6a\x95": "Sun raster",
    b"\x8aMNG\r\n\x1a\n": "MNG",
    b"\x8bJNG\r\n\x1a\n": "JNG",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"/* XPM */": "XPM",
    b"AT&TFORM": "DjVu",
    b"FUJIFILMCCD-RAW": "Fujifilm raw",
    b"IIU\0": "Panasonic raw",
    b"IIRO": "Olympus raw",
    b"IIRS": "Olympus raw",
    b"II\x1a\0\0\0HEAPCCDR": "Canon raw (CRW)",
    b"P7 332": "XV thumbnail",
    b"P7\n": "PAM",
}
"""First bytes of images, none of which is read but TIFF, and that not everywhere."""

_PATTERNS = {
    rb"P[14](?>\s+|#[^\n]*\n)++\d": "PBM",
    rb"P[25](?>\s+|#[^\n]*\n)++\d": "PGM",
    rb"P[36](?>\s+|#[^\n]*\n)++\d": "PPM",
    rb"P[Ff]\s++\d": "PFM",
    rb"\x00\x00\x01\x00(?!\x00\x00)": "ICO",
    rb"\x00\x00\x02\x00(?!\x00\x00)": "CUR",
    rb"BA.{12}(?:BM|CI|CP|IC|PT)": "OS/2 bitmap array",
    rb"[\x0c\x28\x6c\x7c]\x00{3}.{8}\x01\x00[\x01\x04\x08\x10\x18\x20]\x00": "DIB",
    rb"\x01\x00\x00\x00.{36} EMF": "EMF",
    rb".{128}DICM": "DICOM",
    rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]": "PCX",
    # TGA has no signature: no palette, a kind, a place, two sizes that are not 0, bits a pixel;
    rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x0f\x10\x18\x20]": "TGA",
    # or a palette of so many bits a colour.
    rb".\x01[\x01\x09].{4}[\x0f\x10\x18\x20].{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x10]": "TGA",
    rb"(?>\s+|/\*.*?\*/)*+#define\s+\w+_width\s+\d": "XBM",
}

_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
    "JPEG 2000": {b"j2ki", b"j2is", b"jp2 ", b"jph "},
    "Canon raw (CR3)": {b"crx "},
    "HEIF": {b"mif1", b"mif2", b"msf1", b"heif", b"miaf", b"jpeg", b"jpgs", b"unif"},
}
"""Brands of ISO base media files with images (ISO/IEC 23008-12), those of a codec first."""

_OTHERS = {
    b"PK\3\4": "a ZIP archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive: unpack it first",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ\0": "an xz file: unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file: unpack it first",
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM): save one of its frames",
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer: git lfs pull gets the file",
    b"\x93NUMPY": "a NumPy array: make a picture of it",
}
_VIDEO = "a video (MP4 or QuickTime): save one of its frames"
_AVI = "a video (AVI): save one of its frames"
_PAGE = "a web page: the download may have ended at an error"
"""What a file is that is no image, and what to do with it."""

# XML 1.0, section 2.8: comments, instructions and a document type come before the root element.
_PROLOGUE = rb"(?i)(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*+(?:\[.*?\]\s*+)?>)*+"
_SVG = _PROLOGUE + rb"<(?:\w{1,20}:)?svg[\s/>]"
_HTML = _PROLOGUE + rb"<(?:html|head|body|script|title|meta)[\s/>]"


def choose_reader(content: bytes, *, tiff: bool, size: int | None = None) -> Reader:
    """Choose the reader for a file.

    Args:
        content: the file, or its first bytes, `HEAD` of them or more.
        tiff: TIFF is read too.
        size: bytes in the file; None if `content` is all of it.

    Raises:
        UnsupportedFormat: it is an image of another format; the message names it.
        NotAnImage: it is none; the message says what it is, where that is known.
    """
    allowed = _ALLOWED_WITH_TIFF if tiff else _ALLOWED
    reader, head = _reader(content), content[:HEAD]
    if reader and (tiff or reader != _TIFF):
        return reader
    name = reader.name if reader else _other_format(head)
    if name:
        text = f"{_with_article(name)} image cannot be read: save it as {' or '.join(allowed)}"
        raise UnsupportedFormat(text)
    if not content:
        raise NotAnImage("the image is empty: it has 0 bytes")
    what = f"these {len(content) if size is None else size} bytes are not an image"
    kind = _other_kind(head)
    raise NotAnImage(f"{what} but {kind}" if kind else f"{what}: {' and '.join(allowed)} are read")


def _reader(content: bytes) -> Reader | None:
    if content.startswith(b"RIFF"):
        return _WEBP if content[8:12] == b"WEBP" else None
    return _TIFF if _starting(content, _IMAGES) == "TIFF" else _starting(content, _READ)


def _starting(content: bytes, kinds: dict[bytes, Kind]) -> Kind | None:
    return next((kind for start, kind in kinds.items() if content.startswith(start)), None)


def _other_format(head: bytes) -> str | None:
    """The name of an image format that is not read."""
    name = _starting(head, _IMAGES) or _media_format(head)
    if name:
        return name
    if _matches(_SVG, _as_ascii(head)):
        return "SVG"
    return next((name for pattern, name in _PATTERNS.items() if _matches(pattern, head)), None)


def _matches(pattern: bytes, head: bytes) -> bool:
    """Compile the pattern only now: nearly every file is known by its signature."""
    return re.match(pattern, head, re.DOTALL) is not None


def _media_format(head: bytes) -> str | None:
    """The image format of an ISO base media file, by its brand and those that it can be read as."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], {head[at : at + 4] for at in range(16, end - 3, 4)}
    if not any(major in brands for brands in _BRANDS.values()):
        return None
    return next(name for name, brands in _BRANDS.items() if brands & {major, *others})


def _other_kind(head: bytes) -> str | None:
    """What a file is that is no image, and what to do."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return _VIDEO
    if head.startswith(b"RIFF"):
        return {b"AVI ": _AVI, b"WAVE": "a sound file (WAV)"}.get(head[8:12])
    return _PAGE if _matches(_HTML, _as_ascii(head)) else _starting(head, _OTHERS)


def _as_ascii(head: bytes) -> bytes:
    """The ASCII characters of a text, without a byte order mark."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(b"\xef\xbb\xbf")


def _with_article(name: str) -> str:
    vowel = name[0] in "AEIO" or name in ("MNG", "SGI", "SVG", "XBM", "XCF", "XPM", "XV thumbnail")
    return f"{'an' if vowel else 'a'} {name}"
