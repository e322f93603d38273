"""The store: one folder per result, written aside and renamed, and an index of all of them."""

from anomalybench.bench.store.store import Outcome, Store, safe_name

__all__ = ["Outcome", "Store", "safe_name"]
