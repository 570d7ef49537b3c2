"""The JPEG transcoder under AddressSanitizer and UndefinedBehaviourSanitizer, on mutated files."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.core.test_jpeg import SAMPLINGS, coded, scene

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("clang++") or shutil.which("g++")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_mutated_files_break_no_rule_of_the_language(tmp_path):
    program = tmp_path / "fuzz_jpeg"
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [*sorted((ROOT / "native").glob("jpeg*.cpp")), Path(__file__).with_name("fuzz_jpeg.cpp")]
    subprocess.run([COMPILER, *flags, f"-I{ROOT / 'native'}", *sources, "-o", program], check=True)
    seeds = []
    for sampling in SAMPLINGS:
        for progressive in (False, True):
            path = tmp_path / f"{sampling}-{progressive}.jpg"
            path.write_bytes(coded(scene(37, 53), sampling=sampling, progressive=progressive, restart=5))
            seeds.append(path)
    (tmp_path / "grey.jpg").write_bytes(coded(scene(20, 30)[..., 0]))
    done = subprocess.run(
        [program, "20000", *seeds, tmp_path / "grey.jpg"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, refused = map(int, re.findall(r"\d+", done.stdout))
    assert whole > 500 and refused > 500
