"""Packaging, read from settings.ini (the shape of nbdev's own template)."""
from configparser import ConfigParser
from pathlib import Path

import setuptools

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]

keys = ["description", "keywords", "author", "author_email"]
expected = [*keys, "lib_name", "user", "branch", "license", "status", "min_python", "audience", "language", "version"]
for name in expected:
    assert name in cfg, f"missing expected setting: {name}"
statuses = [
    "1 - Planning", "2 - Pre-Alpha", "3 - Alpha", "4 - Beta", "5 - Production/Stable", "6 - Mature", "7 - Inactive"]
pythons = ["3.10", "3.11", "3.12", "3.13"]
supported = pythons[pythons.index(cfg["min_python"]):]

readme = Path("README.md")

setuptools.setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    license="MIT",
    classifiers=[
        "Development Status :: " + statuses[int(cfg["status"])],
        "Intended Audience :: " + cfg["audience"].title(),
        "Natural Language :: " + cfg["language"].title(),
        *[f"Programming Language :: Python :: {v}" for v in supported],
    ],
    url=cfg["git_url"],
    packages=setuptools.find_packages(include=["hubert_llama", "hubert_llama.*"]),
    include_package_data=True,
    package_data={"hubert_llama": ["py.typed", "mini/*/*", "mini/*/*/*"]},
    install_requires=cfg["requirements"].split(),
    extras_require={name: cfg[f"{name}_requirements"].split() for name in ("dev", "evaluate", "docs")},
    python_requires=">=" + cfg["min_python"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    zip_safe=False,
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
    },
    **{k: cfg[k] for k in keys},
)
