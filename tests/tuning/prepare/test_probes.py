"""What is tried before a search takes no longer than it must."""

import pytest

from reid_train.settings.config import TrainConfig
from tests.reports import epoch_report
from tuning.prepare import probes


@pytest.mark.parametrize(("first_s", "trained", "expected_s"), [(2.0, 2, 0.1), (50.0, 2, 0.1), (90.0, 1, 0.4)])
def test_steps_are_timed_in_a_second_epoch_unless_the_first_took_long(monkeypatch, first_s, trained, expected_s):
    begun = []

    def train_epochs(config, part, pixels):
        for epoch, (seconds, speed) in enumerate([(first_s, 80.0), (1.0, 320.0)], start=1):
            begun.append(epoch)
            yield epoch_report(epoch, seconds=seconds, images_per_s=speed)

    monkeypatch.setattr(probes, "train_epochs", train_epochs)
    assert probes.step_s(TrainConfig(batch_size=32), None, None) == pytest.approx(expected_s)
    assert len(begun) == trained
