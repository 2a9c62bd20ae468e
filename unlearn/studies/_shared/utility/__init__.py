"""What releases are good for: train on them, test on real households."""
