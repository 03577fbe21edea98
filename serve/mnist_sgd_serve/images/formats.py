"""Recognise file formats by their first bytes, never by file name.

Six image formats are supported. Many others, and files that people mistake for pictures, are
recognised too, so that the error says what the file is. Only the first `HEAD` bytes are examined,
in linear time.
"""

import re
from typing import NamedTuple, TypeVar

from mnist_sgd_serve.images.errors import NotAnImage, UnsupportedFormat

HEAD = 4096
"""Enough bytes to recognise each format: an SVG may begin with a comment."""

Kind = TypeVar("Kind")


class Reader(NamedTuple):
    """A supported format and its Pillow plugin.

    Attributes:
        name: the format's name.
        module: of the package PIL.
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
"""Signatures of other image formats; of these, only TIFF may be supported."""

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
    # TGA has no signature: no palette, image type, position, non-zero width and height, bit depth;
    rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x0f\x10\x18\x20]": "TGA",
    # or a palette with its bit depth.
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
"""Brands of ISO base media image files (ISO/IEC 23008-12), codec-specific ones first."""

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
"""Files that are no images, and what to do with them."""

# XML 1.0, section 2.8: comments, instructions and a document type come before the root element.
_PROLOGUE = rb"(?i)(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*+(?:\[.*?\]\s*+)?>)*+"
_SVG = _PROLOGUE + rb"<(?:\w{1,20}:)?svg[\s/>]"
_HTML = _PROLOGUE + rb"<(?:html|head|body|script|title|meta)[\s/>]"


def choose_reader(content: bytes, *, tiff: bool, size: int | None = None) -> Reader:
    """Choose the reader for a file.

    Args:
        content: the file, or at least its first `HEAD` bytes.
        tiff: whether TIFF is supported.
        size: the file's size; None if `content` is the whole file.

    Raises:
        UnsupportedFormat: it is an image of another format; the message names it.
        NotAnImage: it is no image; the message says what it is, if known.
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
    """Name the unsupported image format, if it is one."""
    name = _starting(head, _IMAGES) or _media_format(head)
    if name:
        return name
    if _matches(_SVG, _as_ascii(head)):
        return "SVG"
    return next((name for pattern, name in _PATTERNS.items() if _matches(pattern, head)), None)


def _matches(pattern: bytes, head: bytes) -> bool:
    """Match, compiling only now: nearly every file is recognised by its signature."""
    return re.match(pattern, head, re.DOTALL) is not None


def _media_format(head: bytes) -> str | None:
    """Name the image format of an ISO base media file, by its major and compatible brands."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], {head[at : at + 4] for at in range(16, end - 3, 4)}
    if not any(major in brands for brands in _BRANDS.values()):
        return None
    return next(name for name, brands in _BRANDS.items() if brands & {major, *others})


def _other_kind(head: bytes) -> str | None:
    """Say what a file is that is no image, and what to do with it."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return _VIDEO
    if head.startswith(b"RIFF"):
        return {b"AVI ": _AVI, b"WAVE": "a sound file (WAV)"}.get(head[8:12])
    return _PAGE if _matches(_HTML, _as_ascii(head)) else _starting(head, _OTHERS)


def _as_ascii(head: bytes) -> bytes:
    """Return text without its byte order mark, and UTF-16 as ASCII."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(b"\xef\xbb\xbf")


def _with_article(name: str) -> str:
    vowel = name[0] in "AEIO" or name in ("MNG", "SGI", "SVG", "XBM", "XCF", "XPM", "XV thumbnail")
    return f"{'an' if vowel else 'a'} {name}"
