"""How Sphinx makes the site: nothing in it is fetched from elsewhere, and a broken link fails."""

from felhom_agent import __version__

project = "felhom-agent"
author = "felhom-agent contributors"
copyright = author  # noqa: A001 - Sphinx's own name
release = version = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True
# As a forge makes anchors of headings, so that one link works in both places.
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"felhom-agent {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
