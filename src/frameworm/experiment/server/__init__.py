"""The server of the dashboard: an HTTP API over one root of experiments, and the page that uses it.

browser ─▶ limits.py ─▶ security.py ─▶ delivery.py ─▶ app.py ─▶ table.py, edits.py, …  ─▶ store.py ─▶ manager, readers
           how long,    who may ask     JSON, ETags    routes    one router a concern      what is open
           how much     access.py: who                           parameters.py: what is asked
                        was let in                               live.py: what changed, as it happens
"""
