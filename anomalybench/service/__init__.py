"""Promoted models behind HTTP: verdicts, an A/B split, feedback, drift. It needs the extra `serve`, and no torch."""
