"""Records of every experiment in its tiny mode, to show that a change of structure changes no number."""
