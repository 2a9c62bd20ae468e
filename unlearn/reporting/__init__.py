"""How studies are shown: labels, figures and pages, made from records alone."""
