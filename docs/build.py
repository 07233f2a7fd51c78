"""build.py DIRECTORY: the library's pages, from its docstrings. A warning is an error."""

import sys
import warnings
from pathlib import Path

import pdoc

import bpfscript

MODULES = ("bpfscript",)

if __name__ == "__main__":
    warnings.simplefilter("error")
    for name in bpfscript.__all__:
        getattr(bpfscript, name)  # they resolve on first use, and pdoc looks only at what is there
    pdoc.render.configure(docformat="markdown")
    hidden = (
        f"!bpfscript.{path.stem}"
        for path in Path(bpfscript.__path__[0]).iterdir()
        if path.stem != "__init__" and path.stem.isidentifier()
    )
    pdoc.pdoc(*MODULES, *hidden, output_directory=Path(sys.argv[1]))
