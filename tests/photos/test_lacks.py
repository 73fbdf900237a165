"""What the machine lacks is not called a fault of an image; a process of its own has a limit."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

LIMITED = """
import resource, sys, warnings
from pathlib import Path
from pipeline.harness.lacks import ending
from pipeline.photos.decoding import read_image
kind, room, path = sys.argv[1:]
read_image(Path(path), 8)  # libraries are loaded by now
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
most = {"RLIMIT_AS": used + int(room), "RLIMIT_NOFILE": int(room)}[kind]
resource.setrlimit(getattr(resource, kind), (most, most))
try:
    read_image(Path(path), 8)
except Exception as error:
    print(*ending(error))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells how much is used")
@pytest.mark.parametrize(
    ("limit", "room", "line"),
    [
        ("RLIMIT_AS", 1 << 20, "out of memory: {path}, when it was decoded; "),
        ("RLIMIT_NOFILE", 3, "no more open files: [Errno 24] Too many open files: '{path}'; "),
    ],
)
def test_a_good_image_is_not_blamed_for_what_the_machine_lacks(
    limit: str, room: int, line: str, tmp_path: Path
) -> None:
    path = tmp_path / "good.png"
    Image.new("RGB", (3000, 3000)).save(path)
    command = [sys.executable, "-c", LIMITED, limit, str(room), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(line.format(path=path))
    assert done.stdout.endswith(" 4\n")
