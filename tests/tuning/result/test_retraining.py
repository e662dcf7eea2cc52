"""What a retraining trains is what was checked, adapted to the data as the search's trials were."""

from reid_train.settings.config import make_config
from tuning.result import retraining


def test_a_default_that_is_too_short_for_the_data_adapts(tiny_data, tmp_path, monkeypatch):
    checked, trained = [], []
    monkeypatch.setattr(retraining, "train_into", lambda config, *_: trained.append(config.num_epochs))
    monkeypatch.setattr(retraining, "test_metrics", lambda *_: {})
    monkeypatch.setattr(retraining, "write_results", lambda *_: None)
    check_start = retraining.check_start
    monkeypatch.setattr(
        retraining, "check_start", lambda config, *rest: (checked.append(config.pct_start), check_start(config, *rest))
    )
    given = {"data_dir": str(tiny_data), "backbone": "resnet18", "pretrained": "none", "num_epochs": 1}
    given |= {"image_height": 32, "image_width": 16, "batch_size": 16, "holdout_images_per_identity": 1}
    cache = {"cache_dir": tmp_path / "cache", "limit_bytes": None}
    retraining.retrain(tmp_path / "study", make_config(given, "test"), 1, cache)
    assert trained == [1] and checked[0] > 0.1
