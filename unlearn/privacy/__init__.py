"""Techniques that protect the customers behind what is given away: de-identification, differential privacy.

`unlearn.privacy.anonymize` needs nothing beyond the core. `unlearn.privacy.release` draws its noise with OpenDP:
`pip install "unlearn[release]"`.
"""
