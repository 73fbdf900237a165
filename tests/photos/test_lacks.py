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


TOGETHER = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pipeline.photos import decoding
paths = list(Path(sys.argv[1]).iterdir())
decoding.read_image(paths[0], 8)
decoding.DECODED.most = int(sys.argv[2])
alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(len(paths)) as pool:
    list(pool.map(lambda path: decoding.read_image(path, 8), paths))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - alone)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others count the memory differently")
def test_large_pictures_in_many_threads_take_little_more_memory_than_one(tmp_path: Path) -> None:
    pixels = 4000 * 4000
    for number in range(8):
        Image.new("RGBA", (4000, 4000)).save(tmp_path / f"{number}.png", compress_level=1)
    command = [sys.executable, "-c", TOGETHER, str(tmp_path), str(pixels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 8 * pixels
