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
