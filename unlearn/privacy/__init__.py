"""Techniques that protect the customers behind what is given away, or behind what is computed.

`anonymize` and `federated` need nothing beyond the core, and neither do sums of meters in `mpc`. Other parts need
packages: `release` OpenDP, `federated.flower` Flower, other programs of `mpc` MPyC, `encrypted` TenSEAL or phe. What is
missing is named, with the extra that brings it, when it is asked for.
"""
