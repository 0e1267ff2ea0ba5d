"""A PlatformIO platform that needs no registry.

PlatformIO loads this file before it looks for its own package tool-scons, so the package is made here from
PyPI's SCons: the one that is installed when it has the right version, else a download.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from platformio import telemetry
from platformio.dependencies import get_core_dependencies
from platformio.package.version import get_original_version
from platformio.platform.base import PlatformBase

# No telemetry and no look for updates: a build says nothing to anybody. PlatformIO has noted the command
# before it loads this file, but sends at the end only.
os.environ.setdefault("PLATFORMIO_SETTING_ENABLE_TELEMETRY", "no")
telemetry.TelemetryLogger().terminate_sender()
os.environ.setdefault("PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL", "36500")

SCONS_PY = "import sys\nfrom SCons.Script import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"


class CutlayerPlatform(PlatformBase):
    def __init__(self, manifest_path):
        super().__init__(manifest_path)
        ensure_scons(Path(self.config.get("platformio", "packages_dir")))


def scons_versions():
    """The version of tool-scons that PlatformIO asks for ("4.41101.0"), and SCons's own ("4.11.1")."""
    package_version = get_core_dependencies()["tool-scons"].lstrip("~^=")
    return package_version, get_original_version(package_version)


def ensure_scons(packages_dir):
    """Makes `packages_dir`/tool-scons where it is missing; returns its folder."""
    folder = packages_dir / "tool-scons"
    package_version, version = scons_versions()
    manifest = folder / "package.json"
    if manifest.is_file() and json.loads(manifest.read_text())["version"] == package_version:
        return folder
    packages_dir.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="tool-scons.", dir=packages_dir.parent))
    try:
        place_scons(partial, version)
        (partial / "scons.py").write_text(SCONS_PY)
        spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
        metadata = {"type": "tool", "name": "tool-scons", "version": package_version, "spec": spec}
        (partial / ".piopm").write_text(json.dumps(metadata))
        (partial / "package.json").write_text(json.dumps({"name": "tool-scons", "version": package_version}))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            partial.rename(folder)
        except OSError:
            if not manifest.is_file():  # else another build was quicker
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def place_scons(folder, version):
    """Puts the Python package SCons of `version` into `folder`."""
    found = importlib.util.find_spec("SCons")
    if found and found.origin:
        source = Path(found.origin).parent
        if f'__version__="{version}"' in (source / "__init__.py").read_text().replace(" ", ""):
            shutil.copytree(source, folder / "SCons", ignore=shutil.ignore_patterns("__pycache__"))
            return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    result = subprocess.run([*command, f"scons=={version}"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(
            f"error: SCons {version}, which PlatformIO builds with, cannot be had from PyPI\n{result.stderr}"
        )
