"""A run so small that a search over it takes seconds."""

TINY_FIXED = """\
fixed:
  image_height: 32
  image_width: 16
  backbone: resnet18
  pretrained: none
  last_stride: 2
  batch_size: 16
  optimizer: sgd
  fc_layers: 3
  fc_width: 32
  pct_start: 0.4
"""
"""The `fixed` of a space for drawn images of 20 identities."""

TINY_SPACE = f"""\
{TINY_FIXED}search:
  learning_rate: {{low: 1e-6, high: 10, log: true}}
  weight_decay: [0.0001, 1.0]
first_trials:
  - {{learning_rate: 0.05, weight_decay: 0.0001}}
  - {{learning_rate: 10, weight_decay: 1.0}}  # every step multiplies the weights by -9: diverges
  - {{learning_rate: 1e-6, weight_decay: 0.0001}}
study:
  trials: 5
  rungs: [2, 3]
"""
"""A space whose search has trials that are complete, paused and failed."""
