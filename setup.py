"""Map the four top-level folders onto the one import package ``zoo``."""

from setuptools import find_packages, setup

FOLDERS = {
    "zoo": "zoo",
    "zoo.kernels": "kernels",
    "zoo.plugins": "plugins",
    "zoo.registry": "registry",
}
ASSETS = "zoo._report.assets"  # no module, but setuptools takes every folder for a package

setup(
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{inner}" for inner in find_packages(folder)))
    ]
    + [ASSETS],
    package_dir=FOLDERS,
    package_data={"zoo": ["py.typed", "*.pyi"], ASSETS: ["*"]},
)
