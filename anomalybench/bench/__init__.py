"""Suites, the runner, executors and the store."""
