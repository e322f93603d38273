"""Metrics and thresholds: pure functions on arrays. Positive = anomalous, and an image is anomalous if score > t."""
