"""Programs, the map over settings and seeds, chunks, processes, random numbers."""
