#!/bin/sh
# Installs the system packages that cutlayer needs and the machine lacks (Debian, Ubuntu). Says what to do without root.
# usage: system_packages.sh PYTHON
set -eu
python=$1

if ! command -v "$python" >/dev/null 2>&1; then
    echo "error: there is no $python" >&2
    echo "next: sudo apt-get install python3, or make PYTHON=python3.11 ..." >&2
    exit 1
fi
missing=""
need() { # command package: the package when the command is not there
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
# Before the Python packages: some have no wheel for every Python, and are compiled.
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$headers/Python.h" ] || missing="$missing python3-dev"
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
need gcc build-essential
need g++ build-essential
need arm-none-eabi-gcc gcc-arm-none-eabi
need qemu-system-arm qemu-system-arm
need espeak-ng espeak-ng
need clang-14 clang-14
fuzzer_missing=1
for library in /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a; do
    [ ! -e "$library" ] || fuzzer_missing=""
done
[ -z "$fuzzer_missing" ] || missing="$missing libclang-rt-14-dev"
need avr-gcc gcc-avr
[ -e /usr/lib/avr/include/avr/io.h ] || missing="$missing avr-libc"
[ -e /usr/share/arduino/hardware/arduino/avr/cores/arduino/Arduino.h ] || missing="$missing arduino-core-avr"
[ -e /usr/include/simavr/sim_avr.h ] || missing="$missing libsimavr-dev"
[ -e /usr/include/libelf.h ] || missing="$missing libelf-dev"
newlib=/usr/lib/arm-none-eabi/include/newlib.h
[ -e "$newlib" ] || [ -e /usr/include/newlib/newlib.h ] || missing="$missing libnewlib-arm-none-eabi"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: missing:$missing; this machine has no apt-get: install them with its own package manager" >&2
    exit 1
fi
install="apt-get install -y --no-install-recommends$missing"
root=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        root="sudo"
    else
        echo "error: missing system packages:$missing" >&2
        echo "next: installing them needs root: sudo apt-get update && sudo $install" >&2
        exit 1
    fi
fi
echo "installing system packages:$missing"
$root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $root $install -qq
