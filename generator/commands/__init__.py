"""One module a command: its options and its help.  The work is imported when it is called for."""
