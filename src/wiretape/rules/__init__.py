"""Rules: which messages are changed, and how. Values in, decisions out; no sockets, no clock.

values.py    a rule as it is written: JSON in, a frozen value or an error that names the field
seen.py      an exchange as a matcher sees it, live or recorded
matcher.py   the one matcher for live traffic, test tool and preview; it explains itself
headers.py   edits of fields        body.py   edits of bodies        url.py   another URL
ruleset.py   rules compiled together: per stage the first that matches
"""
