"""Claims, estimands, intervals and sequences, verdicts; theory."""
