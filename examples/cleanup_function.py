"""An agent without a model: an async function that cleans up a scratch directory, after asking.

jackline serve --agent examples/cleanup_function.py:cleanup
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from jackline.agents.function import FunctionContext
from jackline.errors import ToolFailed

SCRATCH = Path(tempfile.gettempdir()) / "jackline-example"


def list_files(directory: Path) -> list[str]:
    """The files of a directory."""
    directory.mkdir(exist_ok=True)
    return sorted(str(path) for path in directory.iterdir() if path.is_file())


async def delete(files: list[Path]) -> int:
    """Delete files."""
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


async def cleanup(ctx: FunctionContext) -> dict[str, object]:
    """Delete what lies in the scratch directory."""
    await ctx.say(f"Looking into {SCRATCH}. ")
    files = await ctx.tool(list_files, {"directory": SCRATCH}, effect="read_only")
    if not files:
        await ctx.say("Nothing to do.")
        return {"deleted": 0}
    try:
        deleted = await ctx.tool(delete, {"files": files}, approval=True, effect="idempotent")
    except ToolFailed as error:
        await ctx.say(f"Left as it is: {error}.")
        return {"deleted": 0}
    left = await ctx.tool(list_files, {"directory": SCRATCH}, effect="read_only", verifies=delete)
    await ctx.say(f"Deleted {deleted}.")
    return {"deleted": deleted, "left": left}
