"""Under which terms published weights stand."""

from __future__ import annotations

from dataclasses import dataclass

HUB_NAMES = ("apache-2.0", "mit")  # licenses that the hub's list has a name for, as far as our models use them


@dataclass(frozen=True, kw_only=True)
class License:
    """The license of one checkpoint's weights; what is made of them stands under it.

    name: as the hub's model card states it (apache-2.0, qwen-research). of: the checkpoint that it holds for; with
        another `model.checkpoint`, nothing is known until the configuration says so. note: what it restricts, if
        anything.
    """

    name: str
    of: str
    note: str | None = None

    def holds_for(self, base: str) -> bool:
        """Whether a base, with or without its revision, is the checkpoint that this license is of."""
        return base.partition("@")[0] == self.of

    @property
    def hub_fields(self) -> dict[str, str]:
        """What a model card's header states."""
        if self.name in HUB_NAMES:
            return {"license": self.name}
        link = f"https://huggingface.co/{self.of}/blob/main/LICENSE"
        return {"license": "other", "license_name": self.name, "license_link": link}


def terms_of(base: str, license: License | None) -> str:
    """Say under which terms a base's weights stand."""
    if license is None or not license.holds_for(base):
        return "not known here (model.license states it)"
    return f"{license.name} ({license.note})" if license.note else license.name
