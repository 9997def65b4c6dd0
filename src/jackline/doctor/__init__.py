"""Measures what a path does to streams, and says what is wrong with it. An ordinary client: it knows no log,
no worker and no web."""
