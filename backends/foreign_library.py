"""An object that a script imports: the functions of its `.text`, with what they use."""

from __future__ import annotations

from bpfscript.backends import btf, object_file
from bpfscript.backends.foreign_code import TEXT, Code
from bpfscript.backends.linking import described
from bpfscript.backends.object_file import LOCAL, Symbol
from bpfscript.backends.section_names import Left
from bpfscript.btf import Btf, BtfError
from bpfscript.c_library import CFunction, CLibrary
from bpfscript.codec import ObjectError
from bpfscript.manifest import CodeFunction, Internal
from bpfscript.plain import replace

_ARGUMENTS = 5  # r1-r5


def read(name: str, data: bytes) -> CLibrary:
    """What an object has for scripts. Raises ObjectError for bytes that are none, or no BPF."""
    try:
        code = Code(object_file.read(data), prefix=f"{name}:")
        library = CLibrary(constants=code.maps.constants)
        maps = [*code.maps.defined.values(), *code.maps.data.values()]
        library.maps = {m.name: m for m in maps if m.name != Internal.RODATA}
        kernel = _of_kernel(code.btf)
        for symbol in code.symbols():
            if symbol.section == TEXT:
                function = _function(code, symbol, kernel)
                library.functions[function.code.name] = function
                if symbol.binding != LOCAL:
                    library.named[symbol.name] = function.code.name
    except BtfError as error:
        raise ObjectError(f"damaged object file: {error}") from None
    return library


def _function(code: Code, symbol: Symbol, kernel: set[str]) -> CFunction:
    known = code.btf.find(symbol.name, "func")
    if known is None:
        raise ObjectError(f"damaged object file: BTF does not describe {symbol.name}")
    type, left = code.btf.type(known.to), ""
    made = CodeFunction(code.name(symbol), b"")
    try:
        made, _ = code.function(symbol)
    except Left as why:
        left = str(why)
    if len(code.btf.parameters(type)) > _ARGUMENTS:
        left = f"it has more than {_ARGUMENTS} parameters"
    relocations = tuple(
        replace(r, kind="extern") if r.kind == "kfunc" and r.name not in kernel else r
        for r in made.relocations
    )
    function = CFunction(replace(made, relocations=relocations), type, left)
    described(made, function, symbol.name, btf.Writer())  # damaged types are to be told here
    return function


def _of_kernel(btf: Btf) -> set[str]:
    """Functions that are declared with `__ksym`."""
    section = btf.find(".ksyms", "datasec")
    return {btf.type(row[0]).name for row in btf.section(section)} if section else set()
