"""The nouns: dataset, split, protocol, method, job, record. Importing any of them loads no deep-learning library."""
