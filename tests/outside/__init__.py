"""What is added from outside of the library, without a line changed in it."""
