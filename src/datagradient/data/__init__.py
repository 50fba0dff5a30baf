"""Data: one module per source in `sets`, then splits, label noise and features."""

MODALITIES = ("table", "text", "image")  # kinds of data
