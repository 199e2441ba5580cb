#!/usr/bin/env bash
# Unpacks libtorch from the wheels of Python's torch, without installing torch. See usage().
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
usage: deploy/libtorch.sh [--cuda] FOLDER

Makes FOLDER with torch/ (headers and libraries) and nvidia/ (the libraries they name) from wheels that are pinned by hash.
--cuda adds what a GPU needs. Does nothing where FOLDER is complete. Safe to interrupt and to run twice at the same time.
TEXT
}

# Downloads one requirement line's wheel into $1. A finished download is found again after an interruption.
download() {
  local folder=$1 requirement=$2
  printf '%s\n' "$requirement" >"$folder/requirement.txt"
  "$folder/venv/bin/pip" download --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
    --only-binary=:all: --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux_2_25_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux2014_x86_64 \
    --platform manylinux2010_x86_64 --platform manylinux1_x86_64 \
    --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --dest "$folder/wheels" --requirement "$folder/requirement.txt"
}

# Extracts from wheel $1 into folder $2 the members that libtorch needs on this kind of device ($3: cpu or cuda).
unpack() {
  python3 - "$@" <<'PYTHON'
import re
import sys
import zipfile

wheel, folder, device = sys.argv[1:]
cpu = r"torch/include/.*|torch/lib/(libc10|libtorch_cpu)\.so|torch/lib/libgomp\.so\.1|nvidia/cu13/lib/lib(cudart|cupti)\.so\.13"
cuda = cpu + r"|torch/lib/lib(c10_cuda|caffe2_nvrtc|torch_cuda|torch_cuda_linalg|torch_nvshmem)\.so|nvidia/.*/lib/lib.*\.so.*"
wanted = re.compile(cuda if device == "cuda" else cpu)
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [name for name in archive.namelist() if wanted.fullmatch(name)])
PYTHON
}

main() {
  local device=cpu
  case "${1:-}" in
    --help | -h) usage; return 0 ;;
    --cuda) device=cuda; shift ;;
  esac
  if [ $# -ne 1 ]; then usage >&2; return 2; fi
  local folder=$1 requirements="$here/requirements-libtorch.txt"
  if [ "$device" = cuda ]; then requirements="$here/requirements-libtorch-cuda.txt"; fi
  if [ "$(uname -m)" != x86_64 ]; then
    echo "libtorch: this machine is $(uname -m); the pinned wheels are for x86_64 only" >&2
    return 1
  fi

  mkdir -p "$(dirname "$folder")"
  exec 9>"$folder.lock"
  flock 9
  # A complete GPU folder serves the CPU as well.
  if [ -e "$folder/.complete-$device" ] || [ -e "$folder/.complete-cuda" ]; then return 0; fi

  local work="$folder.partial"
  rm -rf "$work/unpacked"
  mkdir -p "$work/wheels"
  python3 -m venv "$work/venv"
  local requirement
  while read -r requirement; do download "$work" "$requirement" 9>&-; done < <(grep -v '^#' "$requirements")
  local wheel
  for wheel in "$work"/wheels/*.whl; do unpack "$wheel" "$work/unpacked" "$device"; done
  if [ -e "$folder/.complete-cpu" ]; then
    # What is there stays in its place: a running server has it open. Links, because a copy could be cut off half way.
    cp -anl "$work/unpacked/." "$folder/"
    touch "$folder/.complete-$device"
  else
    touch "$work/unpacked/.complete-$device"
    rm -rf "$folder"
    mv "$work/unpacked" "$folder"
  fi
  rm -rf "$work"
}

main "$@"
