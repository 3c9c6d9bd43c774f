"""Which software computes: versions of packages, and the commit of a checkout."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("evqa", "torch", "lightning", "transformers", "peft", "hydra-core", "numpy", "scipy", "av", "decord")


def software() -> dict[str, str | None]:
    """Versions of evqa and what it computes with, and evqa's commit."""
    return {**{name: version(name) for name in PACKAGES}, "commit": commit()}


def version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of evqa's checkout, with `+changes` where the tree differs from it; None for a wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        sha = subprocess.check_output(["git", "-C", root, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL)
        changes = subprocess.check_output(["git", "-C", root, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return sha.strip() + ("+changes" if changes else "")
