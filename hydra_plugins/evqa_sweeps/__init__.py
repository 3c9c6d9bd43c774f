"""Sweepers and launchers for Hydra: sweeps that go on where they stopped and survive a failed member.

Hydra finds plug-ins only in the namespace package `hydra_plugins`, and imports each module whose name has no leading
underscore at every start: heavy or optional packages are imported by the others, when they are needed.
"""
