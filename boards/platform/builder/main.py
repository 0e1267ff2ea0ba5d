"""Builds the firmware with the compiler that the board's JSON names (build.toolchain)."""

import shlex
import shutil
import sys

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
toolchain = board.get("build.toolchain")
prefix = "" if toolchain == "native" else f"{toolchain}-"

for tool in ("gcc", "g++"):
    if not shutil.which(prefix + tool, path=env["ENV"]["PATH"]):
        packages = board.get("build.apt_packages")
        sys.stderr.write(f"error: {prefix}{tool} is not installed\nnext: sudo apt-get install {packages}\n")
        env.Exit(1)


def need_uploaders(commands):
    """Ends the build where a program of upload.command is not on PATH."""
    packages = board.get("build.apt_packages").split()
    for uploader in [shlex.split(part)[0] for part in commands.split("&&")]:
        if not shutil.which(uploader, path=env["ENV"]["PATH"]):
            wanted = uploader if uploader in packages else " ".join(packages)
            sys.stderr.write(f"error: {uploader}, which flashes {env['BOARD']}, is not installed\n")
            sys.stderr.write(f"next: sudo apt-get install {wanted}\n")
            env.Exit(1)


machine = board.get("build.machine_flags", [])
env.Replace(
    CC=f"{prefix}gcc",
    CXX=f"{prefix}g++",
    AS=f"{prefix}gcc",
    LINK=f"{prefix}gcc",
    AR=f"{prefix}gcc-ar",
    RANLIB=f"{prefix}gcc-ranlib",
    SIZETOOL=f"{prefix}size" if board.get("build.linker_script", None) else None,
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    ARFLAGS=["rcD"],
)
env.Append(
    CCFLAGS=[*machine, "-ffunction-sections", "-fdata-sections"],
    ASFLAGS=machine,
    CXXFLAGS=["-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"],
    LINKFLAGS=[*machine, "-Wl,--gc-sections", *board.get("build.link_flags", [])],
    LIBS=board.get("build.libraries", []),
    CPPDEFINES=[("CUTLAYER_BOARD", env.StringifyMacro(env["BOARD"]))],
)
if board.get("build.arduino", None):
    env.SConscript("arduino.py")
if script := board.get("build.linker_script", None):
    env.Replace(LDSCRIPT_PATH=env.subst("$PROJECT_DIR/" + script))
    memory = {
        "FLASH_ORIGIN": board.get("build.flash_origin"),
        "FLASH_BYTES": board.get("upload.maximum_size"),
        "RAM_ORIGIN": board.get("build.ram_origin"),
        "RAM_BYTES": board.get("upload.maximum_ram_size"),
        "STACK_BYTES": board.get("cutlayer.stack_bytes"),
    }
    env.Append(LINKFLAGS=["-Wl,-Map=${BUILD_DIR}/firmware.map"])
    env.Append(LINKFLAGS=[f"-Wl,--defsym={name}={value}" for name, value in memory.items()])

if origin := board.get("cutlayer.recordings_origin", None):
    size = board.get("cutlayer.recordings_bytes")
    env.Append(CPPDEFINES=[("CORTEX_M_RECORDINGS", f"{origin}u"), ("CORTEX_M_RECORDINGS_BYTES", f"{size}u")])
if origin := board.get("cutlayer.storage_origin", None):
    size = board.get("cutlayer.storage_bytes")
    env.Append(CPPDEFINES=[("CORTEX_M_STORAGE_ORIGIN", f"{origin}u"), ("CORTEX_M_STORAGE_BYTES", f"{size}u")])

program = env.BuildProgram()
if board.get("build.linker_script", None):
    env.Depends(program, env.subst("$LDSCRIPT_PATH"))
AlwaysBuild(env.Alias("buildprog", program))
if command := board.get("upload.command", None):
    if "upload" in COMMAND_LINE_TARGETS:  # before the build, not after it
        need_uploaders(command)
    AlwaysBuild(env.Alias("upload", program, env.VerboseAction(command, "Uploading $SOURCE")))
Default("buildprog")
