"""``add``: somebody's project, looked at without running it, and our package put into it wholly or not at all."""
