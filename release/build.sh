#!/bin/sh
# Makes a release: wheel, source archive, one-file executable, bill of materials, digests. From the project's root:
#   release/build.sh [FOLDER] [WHEELS]
# FOLDER (dist) takes the files; WHEELS is a folder that has the locked packages already, else they are fetched by hash.
# The same source gives the same bytes, whenever and wherever it is built.
set -eu
out=${1:-dist}
wheels=${2:-}
python=${PYTHON:-build/venv/bin/python}
tools=${TOOLS:-build/tools/bin}

mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$python" -m hatchling build -d "$out" >/dev/null
version=$("$python" -m hatchling version)

packages=$scratch/packages # of this Python and processor alone, every one checked by hash
"$python" -m pip --disable-pip-version-check download -q ${wheels:+--no-index --find-links "$wheels"} --require-hashes \
  --only-binary :all: -r locks/dth.txt -d "$packages"
# One file for this version of Python on this processor. It unpacks itself on its first start (into PEX_ROOT, else the user's
# cache), and needs nothing but that Python.
kind=$("$python" -c 'import platform, sys; print("cp%d%d-linux-%s" % (*sys.version_info[:2], platform.machine()))')
PEX_ROOT=$scratch/pex "$tools/pex" --python "$python" --no-index --intransitive "$packages"/*.whl \
  "$out/dth-$version-py3-none-any.whl" --venv prepend --sh-boot --no-compile \
  --python-shebang '/usr/bin/env python3' -c dth -o "$out/dth-$version-$kind.pyz"

# The packages of the engine, from the lock that all of the above was made from (CycloneDX).
sed 's/^dynamic = .*/version = "'"$version"'"/' pyproject.toml >"$scratch/pyproject.toml"
"$tools/cyclonedx-py" requirements --pyproject "$scratch/pyproject.toml" --output-reproducible --of JSON \
  -o "$out/dth-$version.cdx.json" locks/dth.txt

(cd "$out" && sha256sum "dth-$version"* >SHA256SUMS)
