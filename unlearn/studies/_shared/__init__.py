"""What several studies measure with."""
