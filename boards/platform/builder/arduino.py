"""Adds an Arduino core that the distribution has (board's JSON, build.arduino) to the firmware."""

from pathlib import Path

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
folder = Path(board.get("build.arduino.folder"))
core = folder / "cores" / board.get("build.arduino.core")
variant = folder / "variants" / board.get("build.arduino.variant")
definitions = [f"F_CPU={board.get('build.f_cpu')}", *board.get("build.arduino.definitions")]

if not core.is_dir():
    packages = board.get("build.apt_packages")
    env.Exit(f"error: {core} does not exist\nnext: sudo apt-get install {packages}")

env.Append(CPPDEFINES=definitions, CXXFLAGS=["-std=gnu++11"])

# What does not fit is a link error: avr-libc's linker scripts take the sizes of the regions from these.
ram_bytes = board.get("upload.maximum_ram_size") - board.get("cutlayer.stack_bytes")
regions = {"DATA": ram_bytes, "TEXT": board.get("upload.maximum_size")}
env.Append(LINKFLAGS=[f"-Wl,--defsym=__{name}_REGION_LENGTH__={size}" for name, size in regions.items()])

# The core is others' code: its own flags, none of ours.
foreign = env.Clone()
foreign.Replace(CFLAGS=["-std=gnu11"], CPPFLAGS=[], CPPPATH=[str(core), str(variant)])
foreign.Replace(
    CCFLAGS=[*board.get("build.machine_flags"), "-Os", "-w", "-ffunction-sections", "-fdata-sections"],
    ASFLAGS=[*board.get("build.machine_flags"), "-x", "assembler-with-cpp"],
    CXXFLAGS=["-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"],
)
sources = sorted(path for path in core.iterdir() if path.suffix in {".c", ".cpp", ".S"})
objects = [foreign.Object(f"$BUILD_DIR/arduino/{path.name}.o", str(path)) for path in sources]
env.Append(
    CPPPATH=[str(core), str(variant)], LIBS=[foreign.StaticLibrary("$BUILD_DIR/arduino/core", objects)]
)
