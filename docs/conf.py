"""Sphinx's configuration of the documentation site; docs/README.md has the command."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "mnist_sgd"
author = "the mnist_sgd contributors"
release = version = installed("mnist-sgd")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "command_line",
    "public_names",
    "repository_links",
]
exclude_patterns = ["README.md"]  # the list of guides on GitHub; index.md is the site's
suppress_warnings = ["config.cache"]  # Sphinx cannot pickle myst_nb's settings
default_role = "name"  # of public_names: docstrings have names in single backticks
highlight_language = "default"
smartquotes_action = "D"  # dashes alone: two quotes are an empty string in docstrings

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # as on GitHub
nb_execution_mode = "off"  # tests/project/test_walkthrough.py runs the notebook
nb_render_image_options = {"alt": "What the code above draws"}

autoclass_content = "both"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = "mnist_sgd"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "../serve/mnist_sgd_serve/page/icon.svg"
html_show_copyright = False
html_copy_source = False
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True
