#!/bin/sh
# Makes the virtual environment with the pinned Python packages and the project itself, editable.
# usage: virtual_environment.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $("$python" --version 2>&1) is too old: cutlayer needs Python 3.11 or newer" >&2
    echo "next: make PYTHON=python3.11 ..." >&2
    exit 1
fi
if [ ! -x "$folder/bin/python" ]; then
    if ! "$python" -m venv "$folder"; then
        rm -rf "$folder"
        echo "error: $python cannot make a virtual environment" >&2
        echo "next: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
echo "installing the Python packages of pyproject.toml into $folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
