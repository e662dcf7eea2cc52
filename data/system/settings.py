"""The base of all groups of settings: frozen, checked once where they are made, each setting with its meaning below it.

class BatchSettings(Settings):
    batch_size: int = Field(32, ge=2)
    '''Images a step.'''
"""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """A group of settings. TrainConfig is made of such groups, and each group is passed whole to what it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_truth(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML's yes, no, on and off are true and false, which pydantic would take for 1 and 0.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and bool not in get_args(annotation):
            raise ValueError("should be a number or a name, not true or false")
        return value
