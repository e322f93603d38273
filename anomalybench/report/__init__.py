"""What people read: tables made from records, and from nothing else."""
