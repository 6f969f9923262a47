"""Files, the table, figures' style, the page of verdicts."""
