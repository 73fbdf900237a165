"""What a file or folder is, by its name alone: an image, perhaps an image, or surely none."""

IMAGES = (
    "apng avif bmp dib gif heic heif hif j2k jfif jp2 jpe jpeg jpf jpg jpx pbm pgm png pnm ppm tif"
    " tiff webp"
)
TEXTS = (
    "cfg conf csv doc docx htm html ini json jsonl log md names ndjson ods odt pdf rst rtf toml tsv"
    " txt xls xlsx xml yaml yml"
)
VIDEOS_AND_SOUND = "3gp aac avi flac flv m4a m4v mkv mov mp3 mp4 mpeg mpg mts ogg wav webm wmv"
ARCHIVES_AND_ARRAYS = (
    "7z arrow bz2 feather gz h5 hdf5 lmdb mat mdb npy npz parquet pickle pkl pt pth rar record"
    " sqlite tar tfrecord tgz xz zip"
)
CODE_AND_LEFTOVERS = (
    "aae c cache cpp css db dvc ipynb js lnk m py pyc sh thm url xmp"  # aae, thm, xmp: of cameras
)

IMAGE_SUFFIXES = frozenset(IMAGES.split())
"""Suffixes of photos. A file of an unknown suffix is taken for an image only inside a class."""

OTHER_SUFFIXES = frozenset(
    f"{TEXTS} {VIDEOS_AND_SOUND} {ARCHIVES_AND_ARRAYS} {CODE_AND_LEFTOVERS}".split()
)
"""Suffixes of files that are no photos."""

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "icon\r"})
"""Files that Windows and macOS leave in folders of pictures, in lower case."""

SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",  # macOS, in archives: holds no image, but a file named like each of them
        "@eadir",  # Synology: thumbnails
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "lost+found",
        "system volume information",
        "__pycache__",
    }
)
"""Folders that systems and programs leave beside pictures, in lower case."""


def suffix(name: str) -> str:
    """Return what follows the last dot of a name, in lower case; '' without a dot."""
    _, dot, end = name.rpartition(".")
    return end.lower() if dot else ""


def other_file(name: str) -> str | None:
    """Return what a file is called in the count of files that are no images; None: may be one."""
    if name.lower() in SYSTEM_FILES:
        return name.strip()
    if name.startswith("."):
        return "hidden"
    ending = suffix(name)
    return f".{ending}" if ending in OTHER_SUFFIXES else None


def other_folder(name: str) -> str | None:
    """Return what a folder is called in that count if nothing in it is read, else None."""
    if name.lower() in SYSTEM_FOLDERS:
        return f"{name}/"
    return "hidden/" if name.startswith(".") else None
