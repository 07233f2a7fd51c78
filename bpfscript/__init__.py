"""Public API, resolved on first use so that `import bpfscript.runtime` loads neither lark nor LLVM."""
