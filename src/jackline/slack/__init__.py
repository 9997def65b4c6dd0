"""The bridge to Slack: an ordinary client of the public API, and of Slack's.

What comes from Slack goes one way:

    socket.py     Slack's events, each into the ledger before it is acknowledged; forms are answered there
    ledger.py     what must not be forgotten, on disk
    orders.py     who asked (`asked.py`), with whose key (`people.py`), and which of the next does it
    starts.py, stops.py, decisions.py
                  what is asked of the server, and what its answers (`answers.py`) mean to the person
    whispers.py   what only the person is told of it

What a run does goes the other:

    finder.py     runs of our threads that were started elsewhere
    teller.py     follows one run's log
    story.py      what it comes to, in the order in which it is told
    drawing.py    that as messages within Slack's limits (`pieces.py`, `mrkdwn.py`, `receipt.py`, `forms.py`)
    speaker.py    brings them to the thread by posts and edits, each message posted once
    gates.py      at the rates that Slack takes

`web.py` makes the calls of Slack's Web API, `bridge.py` puts the parts together.
"""
