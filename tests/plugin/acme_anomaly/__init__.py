"""Plugins of a third party, for tests."""
