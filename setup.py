"""Put the folder of configs into the built package, where an installed command finds it (see pyproject.toml)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Build the packages, then copy `configs/` to `data_gen/configs/`; an editable install reads the checkout's own."""

    def run(self):
        """Build."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib) / "data_gen" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
