"""``update``: whose project it is, what an update would do to it, and doing exactly that."""
