"""`import` (LANGUAGE §1.8): files merged into a script, from memory and from the disk."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from check_support import TARGET

from bpfscript.c_library import CLibrary
from bpfscript.diagnostics import Diagnostic, Reporter, ScriptError, Source
from bpfscript.frontend import nodes
from bpfscript.frontend.check import check
from bpfscript.frontend.imports import merge
from bpfscript.frontend.parser import parse
from bpfscript.frontend.typed import Importer, Options
from bpfscript.runtime.import_files import ImportFiles
from bpfscript.target import MachineError


@dataclass
class Files:
    """An Importer over a dict."""

    held: dict[str, str]
    open_to_all: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)  # that nobody watches

    def kind(self, path: str) -> Literal["file", "directory"] | None:
        path = posixpath.normpath(path)
        if path in self.held:
            return "file"
        return "directory" if any(name.startswith(f"{path}/") for name in self.held) else None

    def writable_by_all(self, path: str) -> bool:
        return path in self.open_to_all

    def names(self, path: str) -> list[str]:
        return sorted(
            {n.removeprefix(f"{path}/").split("/")[0] for n in self.held if n.startswith(path)}
        )

    def text(self, path: str) -> str:
        return self.held[posixpath.normpath(path)]

    def unwatched(self, path: str) -> None:
        self.unknown.append(path)

    def data(self, path: str) -> bytes:
        return self.text(path).encode()

    def identity(self, path: str) -> str:
        return path

    def compiler(self) -> str:
        return ""

    def compiled(
        self, path: str, include_dirs: tuple[str, ...]
    ) -> tuple[bytes, str, tuple[str, ...]]:
        raise NotImplementedError


def merged(
    text: str, files: dict[str, str], name: str = "stdin", open_to_all: set[str] | None = None
) -> nodes.Program:
    report = Reporter()
    options = Options(importer=Files(files, open_to_all or set()))
    program = merge(parse(Source(name, text)), options, report, CLibrary())
    report.raise_errors()
    return program


def fault(
    text: str, files: dict[str, str], name: str = "stdin", open_to_all: set[str] | None = None
) -> Diagnostic:
    with pytest.raises(ScriptError) as caught:
        merged(text, files, name, open_to_all)
    return caught.value.diagnostics[0]


def macros(program: nodes.Program) -> list[str]:
    return [item.name for item in program.items if isinstance(item, nodes.Macro)]


TWO, THREE = "macro two() { 2 }", "macro three() { two() + 1 }"


class TestMerging:
    def test_items_come_first_in_the_order_of_the_imports(self) -> None:
        files = {"a.bt": TWO, "b.bt": THREE}
        program = merged('import "b.bt"; import "a.bt"; macro own() { 1 } begin { }', files)
        assert macros(program) == ["three", "two", "own"]

    def test_directory(self) -> None:
        files = {"lib/b.bt": THREE, "lib/a.bt": TWO, "lib/readme": "no", "lib/deep/c.bt": "junk("}
        assert macros(merged('import "lib"; begin { }', files)) == ["two", "three"]

    def test_each_file_once(self) -> None:
        files = {"lib/a.bt": 'import "b.bt"; ' + TWO, "lib/b.bt": 'import "./a.bt"; ' + THREE}
        program = merged(
            'import "lib/a.bt"; import "lib/a.bt"; import "./lib/a.bt"; begin { }', files
        )
        assert sorted(macros(program)) == ["three", "two"]

    def test_paths_start_at_the_importing_file_then_at_the_script(self) -> None:
        files = {"p/sub/x.bt": 'import "y.bt"; import "z.bt";', "p/sub/y.bt": TWO, "p/z.bt": THREE}
        assert macros(merged('import "sub/x.bt"; begin { }', files, "p/main.bt")) == [
            "two",
            "three",
        ]

    def test_definitions_and_headers(self) -> None:
        files = {"lib/d.bt": "struct S { int a; }", "lib/h.h": "#define A 1"}
        program = merged('struct T { int a; } import "lib"; begin { }', files)
        texts = [definition.text.split(" {")[0] for definition in program.c_definitions]
        assert texts == ["struct S", '#include "lib/h.h"', "struct T"]

    def test_headers_that_read_others_are_noted(self) -> None:
        files = Files({"a.h": "#define A 1", "b.h": '#include "c.h"'})
        program = parse(Source("stdin", 'import "a.h"; import "b.h"; begin { }'))
        merge(program, Options(importer=files), Reporter(), CLibrary())
        assert files.unknown == ["b.h"]

    def test_the_library_is_always_there(self) -> None:
        assert merged('import "stdlib"; begin { }', {}).items

    def test_checked_with_its_macros(self) -> None:
        importer: Importer = Files({"a.bt": TWO})
        program = parse(Source("stdin", 'import "a.bt"; begin { print(two); }'))
        check(program, TARGET, Options(importer=importer))


class TestRefusals:
    def test_missing(self) -> None:
        found = fault('import "nope.bt"; begin { }', {})
        assert found.message == "Unable to find suitable path for import"
        assert (found.span.text, found.hint) == ('import "nope.bt";', "checked: nope.bt")

    def test_unknown_type(self) -> None:
        found = fault('import "lib/x.txt"; begin { }', {"lib/x.txt": "hello"})
        assert found.message == 'unknown import type: "x.txt"'

    @pytest.mark.parametrize("name", ["x.bpf.c", "x.bpf.o"])
    def test_nobody_to_read_objects(self, name: str) -> None:
        found = fault(f'import "{name}"; begin {{ }}', {name: ""})
        assert found.message == f'this script may not import compiled code: "{name}"'

    def test_config(self) -> None:
        found = fault('import "a.bt"; begin { }', {"a.bt": "config = { max_strlen=64 }"})
        assert found.message == "invalid `config` within import"
        assert found.span.place == "a.bt:1:1-27"
        merged('import "a.bt"; begin { }', {"a.bt": "config = { }"})

    def test_writable_by_all(self) -> None:
        report = Reporter()
        program = parse(Source("stdin", 'import "a.bt"; begin { }'))
        with pytest.raises(ScriptError) as caught:
            options = Options(importer=Files({"a.bt": TWO}, {"a.bt"}))
            merge(program, options, report, CLibrary())
        error, warning = caught.value.diagnostics
        assert error.message == "Unable to find suitable path for import"
        assert warning.message == 'skipping due to global write permissions: "a.bt"'

    def test_writable_by_all_in_a_directory(self) -> None:
        files = {"lib/a.bt": TWO, "lib/b.bt": THREE}
        found = fault('import "lib"; begin { }', files, open_to_all={"lib/b.bt"})
        assert found.message == (
            'cowardly refusing to import from a directory with global write permissions: "lib/b.bt"'
        )

    def test_without_files(self) -> None:
        with pytest.raises(ScriptError, match="this script may not import files"):
            check(parse(Source("stdin", 'import "a.bt"; begin { }')), TARGET, Options())

    def test_errors_in_a_file_name_the_import(self) -> None:
        program = parse(Source("stdin", 'import "a.bt"; begin { }'))
        importer = Files({"a.bt": "macro bad() { foo } begin { print(bad()); }"})
        with pytest.raises(ScriptError) as caught:
            check(program, TARGET, Options(importer=importer))
        first = caught.value.diagnostics[0]
        assert first.span.place == "a.bt:1:15-18"
        assert [s.place for s in first.span.origins()] == ["a.bt:1:35-40", "stdin:1:1-15"]


class TestDisk:
    def test_kinds(self, tmp_path: Path) -> None:
        (tmp_path / "a.bt").write_text(TWO)
        files = ImportFiles()
        assert files.kind(str(tmp_path / "a.bt")) == "file"
        assert files.kind(str(tmp_path)) == "directory"
        assert files.kind(str(tmp_path / "no")) is None
        assert files.kind("a\0b") is None
        assert files.kind("/dev/null") is None

    def test_text_and_names(self, tmp_path: Path) -> None:
        (tmp_path / "b.bt").write_bytes(b"// \xff")
        (tmp_path / "a.bt").write_text(TWO)
        files = ImportFiles()
        assert files.names(str(tmp_path)) == ["a.bt", "b.bt"]
        assert files.text(str(tmp_path / "b.bt")) == "// \udcff"
        with pytest.raises(MachineError, match="failed to open file"):
            files.text(str(tmp_path / "no.bt"))
        with pytest.raises(MachineError, match="failed to read directory"):
            files.names(str(tmp_path / "no"))

    def test_writable_by_all(self, tmp_path: Path) -> None:
        script, files = tmp_path / "a.bt", ImportFiles()
        script.write_text(TWO)
        script.chmod(0o644)
        tmp_path.chmod(0o755)
        assert not files.writable_by_all(str(script))
        script.chmod(0o646)
        assert files.writable_by_all(str(script))
        script.chmod(0o644)
        tmp_path.chmod(0o757)
        assert files.writable_by_all(str(script))
        tmp_path.chmod(0o755)
