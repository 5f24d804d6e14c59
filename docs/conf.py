"""Sphinx configuration."""

from treasure import __version__

project = "TREASURE"
author = "The TREASURE authors"
copyright = "2026, the TREASURE authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
# Two rooms may use one word of the field, such as Particles, for what each means by it.
suppress_warnings = ["ref.python"]

# law and luigi tasks need a configured command line, and heavy packages only slow the build down.
autodoc_mock_imports = ["law", "luigi"]

templates_path = ["templates"]
exclude_patterns = ["_build", "templates", "scripts"]
html_theme = "furo"
html_title = f"TREASURE {release}"
