"""How fast the page of ``frameworm ui`` is in Chromium, beside its peers' pages: ``python -m benchmarks.ui``.

roots.py ─▶ ours.py ─┐
            peers.py ─┼─▶ browser.py ─▶ __main__.py ─▶ UI.md
"""
