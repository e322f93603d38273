"""The protocols that come with the project: one file each."""
