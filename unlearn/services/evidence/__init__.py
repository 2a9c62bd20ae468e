"""What is measured of a deletion: numbers from the data, attacks before and after, what became of fitted parts."""
