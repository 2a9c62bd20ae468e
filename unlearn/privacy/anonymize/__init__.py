"""De-identification: pseudonyms, aggregation with its rules, generalisation, coarser time.

None of them is a guarantee: `unlearn.attacks` measures what each leaves.
"""
