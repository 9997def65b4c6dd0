"""The bridge to Slack: an ordinary client of the public API, and of Slack's.

What a thread shows is drawn from the run's log (`story.py`, `drawing.py`) and brought to Slack by edits
(`speaker.py`), with a ledger on disk of what stands there already.
"""
