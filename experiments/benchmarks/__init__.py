"""What `python -m experiments.benchmark` times: peers and ours in one run, medians with their spread."""
