"""The questions that people ask: each study measures, judges and reports; a folder each."""
