"""Events to selected jets: layouts, selection, matching, and the coffea processor."""
