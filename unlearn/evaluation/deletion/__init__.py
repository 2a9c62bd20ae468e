"""Evidence that a deletion happened: attacks on forecasters before and after unlearning."""
