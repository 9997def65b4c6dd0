"""`jackline completion SHELL`: the shells' scripts, and what they ask for at each press of Tab.

The scripts call `jackline completion SHELL -- WORDS` with the words up to the cursor, and get a line for
each candidate, with a tab and a word on it for shells that show one. Nothing of it is evaluated by a
shell, and what is no plain word is left out: titles are written by whoever starts a run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import anyio

from jackline.cli.plain import one_line
from jackline.client.api import Client
from jackline.client.errors import ClientError
from jackline.client.pace import Pace
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

_PACE: Final = Pace(first_budget_s=0, connect_budget_s=0)
_RECENT: Final = 50
_WORD: Final = re.compile(r"[\w.@:/+=-]+")
_FILES: Final = "\x06"
"""Instead of candidates: the shell's own names of files."""
_STATES: Final = ("queued", "executing", "awaiting_approval", "stopping", "stopped", "completed", "failed")

Candidate = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The server that is asked. Who presses Tab waits for `within_s` at most; a server that is away
    completes nothing, and says nothing."""

    url: str
    token: str | None
    within_s: float


_BASH: Final = """\
# jackline: eval "$(jackline completion bash)" in ~/.bashrc
_jackline() {
    local words=() word line rest="${COMP_LINE:0:COMP_POINT}" current last=-1
    # Bash takes addresses to pieces; the pieces of a word have no space between them.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if (( last < 0 )) || [[ $rest == [[:space:]]* ]]; then
            words[++last]=$word
        else
            words[last]+=$word
        fi
        rest="${rest#"${rest%%[![:space:]]*}"}"
        rest="${rest#"$word"}"
    done
    current="${words[last]}"
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == $'\\x06' ]]; then
            compopt -o filenames
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
            return
        fi
        COMPREPLY+=("${line%%$'\\t'*}")
    done < <(command "${COMP_WORDS[0]}" completion bash -- "${words[@]:1}" 2>/dev/null)
    # Bash takes a colon for the beginning of a new word.
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
}
complete -F _jackline jackline
"""
_ZSH: Final = """\
#compdef jackline
# jackline: eval "$(jackline completion zsh)" in ~/.zshrc, after compinit
_jackline() {
    local line
    local -a names shown
    while IFS= read -r line; do
        if [[ $line == $'\\x06' ]]; then
            _files
            return
        fi
        names+=("${line%%$'\\t'*}")
        if [[ $line == *$'\\t'* ]]; then
            shown+=("${line%%$'\\t'*}  -- ${line#*$'\\t'}")
        else
            shown+=("$line")
        fi
    done < <(command "${words[1]}" completion zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#names )) && compadd -l -d shown -a names
}
compdef _jackline jackline
"""
_FISH: Final = """\
# jackline: jackline completion fish | source, in ~/.config/fish/config.fish
function __jackline_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines (command $words[1] completion fish -- $words[2..-1] 2>/dev/null)
    if test "$lines[1]" = \\x06
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $lines
    end
end
complete -c jackline -f -a '(__jackline_complete)'
"""


def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """What the shell is to evaluate."""
    return {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]


def complete(root: Any, words: Sequence[str], place: Place) -> list[str]:
    """The candidates for the last word, as lines. `root` is the command line's own description."""
    *before, current = words or [""]
    command, rest = _command(root, before)
    place = replace(
        place, url=_given(before, "--url") or place.url, token=_given(before, "--token") or place.token
    )
    option = _by_name(command, before[-1]) if before else None
    if option is not None and not option.is_flag and rest:
        found = _values(option, place)
    elif current.startswith("-"):
        found = list(_options(command))
    elif getattr(command, "commands", None):
        found = [(name, _help(each)) for name, each in command.commands.items() if not each.hidden]
    else:
        argument = _argument(command, rest)
        found = [] if argument is None else _values(argument, place)
    if found == [(_FILES, "")]:
        return [_FILES]
    matching = [(name, about) for name, about in found if name.startswith(current) and _WORD.fullmatch(name)]
    return [f"{name}\t{one_line(about)}" if about else name for name, about in matching]


# -- the command line itself -----------------------------------------------------------------------


def _command(root: Any, words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that the words lead to, and those that follow it."""
    command, rest = root, list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def _by_name(command: Any, word: str) -> Any:
    return next((each for each in command.params if word.startswith("-") and word in each.opts), None)


def _given(words: Sequence[str], name: str) -> str | None:
    whole = next((word for word in words if word.startswith(f"{name}=")), None)
    if whole is not None:
        return whole.partition("=")[2]
    return next((after for word, after in pairwise(words) if word == name), None)


def _options(command: Any) -> Iterator[Candidate]:
    for each in command.params:
        if each.param_type_name == "option":
            yield from ((name, each.help or "") for name in each.opts if name.startswith("--"))
    yield "--help", ""


def _argument(command: Any, words: Sequence[str]) -> Any:
    """The argument that the next word would be, None where there is none left."""
    left = [each for each in command.params if each.param_type_name == "argument" and not each.hidden]
    skip = False
    for word in words:
        option = _by_name(command, word)
        if skip or option is not None or word.startswith("--"):
            skip = not skip and option is not None and not option.is_flag
        elif left:
            left.pop(0)
    return left[0] if left else None


def _help(command: Any) -> str:
    return str(command.help or "").partition(".")[0]


def _values(parameter: Any, place: Place) -> list[Candidate]:
    choices = get_args(getattr(getattr(parameter, "type_descriptor", None), "annotation", None))
    if choices and all(isinstance(each, str) for each in choices):
        return [(each, "") for each in choices]
    ask: Any = None
    match parameter.metavar, parameter.name:
        case _, "state":
            return [(each, "") for each in _STATES]
        case "NAME", "name":
            return _proxies()
        case "NAME", "agent":
            ask = _agents
        case "RUN", _:
            ask = _runs
        case "CALL", _:
            ask = _calls
        case (("RUN|CONVERSATION" | "RUN|CALL|CONVERSATION"), _):
            ask = _runs_and_conversations
        case _, "conversation":
            ask = _conversations
        case (("FILE" | "FOLDER" | "FILE.py:NAME"), _):
            return [(_FILES, "")]
        case _:
            return []
    return anyio.run(_asked, ask, place)


def _proxies() -> list[Candidate]:
    from jackline.proxies import GENERATED, NOTES, about

    return [(name, about(name)) for name in (*GENERATED, *NOTES)]


# -- the server ------------------------------------------------------------------------------------


async def _asked(ask: Callable[[Client], Awaitable[list[Candidate]]], place: Place) -> list[Candidate]:
    try:
        with anyio.move_on_after(place.within_s):
            async with Client(place.url, place.token, pace=_PACE) as client:
                return await ask(client)
    except (ClientError, ValueError, KeyError):
        pass  # a press of Tab is no place for a message
    return []


async def _rows(client: Client) -> list[dict[str, Any]]:
    page = await client.runs(limit=_RECENT)
    return [members(each) or {} for each in items(page.get("runs"))]


async def _runs(client: Client) -> list[Candidate]:
    return [
        (str(run["run_id"]), f"{run.get('state')} {run.get('title') or ''}") for run in await _rows(client)
    ]


async def _conversations(client: Client) -> list[Candidate]:
    newest = {
        str(run["conversation_id"]): str(run.get("title") or "") for run in reversed(await _rows(client))
    }
    return list(reversed(newest.items()))


async def _runs_and_conversations(client: Client) -> list[Candidate]:
    return [*await _runs(client), *await _conversations(client)]


async def _calls(client: Client) -> list[Candidate]:
    page = await client.approvals(limit=_RECENT)
    rows = [members(each) or {} for each in items(page.get("approvals"))]
    return [(str(row["call_id"]), str(row.get("name") or "")) for row in rows]


async def _agents(client: Client) -> list[Candidate]:
    rows = [members(each) or {} for each in items((await client.agents()).get("agents"))]
    return [(str(row["name"]), str(row.get("description") or "")) for row in rows]
