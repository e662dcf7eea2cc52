"""Tells a search space from the settings of one training, where the wrong one is given."""

from data.system.commands import command
from data.system.errors import UserError
from reid_train.settings.file import SettingsFile

SECTIONS = ("fixed", "search", "first_trials", "study", "sample_data")
"""The sections of a search space."""


def check_no_space(settings: SettingsFile) -> None:
    """Raises UserError for the file of a search space."""
    for section in SECTIONS:
        if section in settings.values:
            searched = command("tuning.search", "--space", settings.where)
            raise UserError(
                f"{settings.at(section)}: {section} is a section of a search space, and one training's settings are "
                f"needed here; to search it: {searched}"
            )
