"""From a derivation to something to read: terminal, LaTeX, Markdown, notebook, web page.

`document` turns a `Derived` into blocks; `notation` turns an expression into pieces, one spelling
per format. May import expr, primitives, derivation and verify; knows nothing of the rules.
"""
