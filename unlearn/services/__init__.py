"""From a request to forget to signed evidence: what learnt from whom, what was removed from it, and proof of both."""
