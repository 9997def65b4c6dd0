"""The web side: routes, principals, viewers. It talks to the log and to `commands`, never to a worker."""
