"""Map the four top-level folders onto the one import package ``zoo``."""

from setuptools import find_packages, setup

FOLDERS = {
    "zoo": "zoo",
    "zoo.kernels": "kernels",
    "zoo.plugins": "plugins",
    "zoo.registry": "registry",
}

setup(
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{inner}" for inner in find_packages(folder)))
    ],
    package_dir=FOLDERS,
    package_data={"zoo": ["py.typed", "*.pyi", "_report/assets/*"]},
)
