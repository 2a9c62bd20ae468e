"""The embedded simulator of households: who lives there, what they switch on, and the weather they live in."""
