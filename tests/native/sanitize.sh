#!/usr/bin/env bash
# Runs the native tests on a module built with AddressSanitizer and UndefinedBehaviourSanitizer:
#   tests/native/sanitize.sh PYTHON [pytest arguments]
set -euo pipefail
python=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/sanitize
bin=$(cd "$(dirname "$python")" && pwd)

"$python" -m pip install --disable-pip-version-check --quiet cmake ninja nanobind
PATH=$bin:$PATH cmake -S "$root" -B "$build" -G Ninja -DREKNIT_SANITIZE=ON \
  -DPython_EXECUTABLE="$bin/python" >/dev/null
PATH=$bin:$PATH cmake --build "$build"

# A package folder of links, with the sanitized module in place of the installed one.
rm -rf "$build/site"
mkdir -p "$build/site/reknit"
ln -s "$root"/src/reknit/* "$build/site/reknit/"
ln -s "$root/examples" "$build/site/reknit/examples"
ln -s "$build"/native/_native*.so "$build/site/reknit/"

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
export LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
# -S: without the links of an editable install, which would win over the path.
PYTHONPATH=$build/site:$site exec "$bin/python" -S -m pytest -p no:cacheprovider "${@:-$root/tests/native}" \
  "$root/tests/contract" "$root/tests/core/test_jpeg.py" "$root/tests/core/test_composite.py"
