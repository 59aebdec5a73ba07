"""For tests, demos and rehearsals only: the rest of the package never imports this."""
