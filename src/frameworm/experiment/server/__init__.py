"""The server of the dashboard: an HTTP API over one root of experiments, and the page that uses it.

browser ─▶ security.py ─▶ delivery.py ─▶ app.py ─▶ table.py, edits.py, …  ─▶ store.py ─▶ manager, readers
           who may ask     JSON, ETags    routes    one router a concern      what is open
                                                    live.py: what changed, as it happens
"""
