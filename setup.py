"""Map the four top-level folders onto the one import package ``zoo``."""

from setuptools import setup

setup(
    packages=["zoo", "zoo.kernels", "zoo.plugins", "zoo.registry"],
    package_dir={
        "zoo": "zoo",
        "zoo.kernels": "kernels",
        "zoo.plugins": "plugins",
        "zoo.registry": "registry",
    },
    package_data={"zoo": ["py.typed", "*.html.j2", "*.css", "*.js"]},
)
