#!/usr/bin/env python3
"""Writes the completions for bash and zsh from what `reference` prints: completions.py REFERENCE-PROGRAM FOLDER

The files are `hakmem` (bash) and `_hakmem` (zsh).
"""

import json
import pathlib
import subprocess
import sys

# What an argument of that name is; everything else has no candidates. In bash and in zsh.
BASH_CANDIDATES = {
    "FILE": "compgen -f -- \"$cur\"",
    "DIR": "compgen -d -- \"$cur\"",
    "PID": "_hakmem_pids",
    "ID": "_hakmem_ids",
    "KEY=VALUE": "_hakmem_keys",
}
ZSH_ACTIONS = {"FILE": "_files", "DIR": "_files -/", "PID": "_hakmem_pids", "ID": "_hakmem_ids",
               "KEY=VALUE": "_hakmem_keys"}

BASH = """\
# bash completion for hakmem(1), made from its own command line
_hakmem_json() {{ # COMMAND… : the strings behind "KEY" of its --json
    local key=$1
    shift
    hakmem "$@" --json 2>/dev/null | sed -n "s/^ *\\"$key\\": \\"\\{{0,1\\}}\\([0-9a-z]*\\)\\"\\{{0,1\\}},\\{{0,1\\}}$/\\1/p"
}}
_hakmem_pids() {{ compgen -W "$(_hakmem_json pid ps)" -- "$cur"; }}
_hakmem_ids() {{ compgen -W "$(_hakmem_json id incidents list)" -- "$cur"; }}
_hakmem_keys() {{ compgen -S = -W "{keys}" -- "$cur"; }}

_hakmem() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} path=hakmem word
    local -i i positional=0
    COMPREPLY=()
    # Which subcommand this is, and how many arguments it has before the cursor.
    for ((i = 1; i < COMP_CWORD; ++i)); do
        word=${{COMP_WORDS[i]}}
        if [[ $word == -- ]]; then
            [[ $path != "hakmem run" ]] || {{ _hakmem_command $((i + 1)); return; }}
            continue
        fi
        case "$path $word" in
{subcommands}
        *) [[ $word == -* ]] || positional+=1 ;;
        esac
    done
    case "$path $prev" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case $path in
{options}
        esac
        return
    fi
    case $path in
{arguments}
    esac
    # key=value goes on behind the =
    [[ ${{#COMPREPLY[@]}} != 1 || ${{COMPREPLY[0]}} != *= ]] || compopt -o nospace 2>/dev/null
}}

# The command behind `hakmem run --`.
_hakmem_command() {{
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}}
complete -F _hakmem hakmem
"""

ZSH = """\
#compdef hakmem
# zsh completion for hakmem(1), made from its own command line
_hakmem_json() {{ # KEY COMMAND… : the values behind KEY of its --json
    local key=$1
    shift
    hakmem "$@" --json 2>/dev/null | sed -n "s/^ *\\"$key\\": \\"\\{{0,1\\}}\\([0-9a-z]*\\)\\"\\{{0,1\\}},\\{{0,1\\}}$/\\1/p"
}}
_hakmem_pids() {{ local -a pids; pids=(${{(f)"$(_hakmem_json pid ps)"}}); compadd -a pids }}
_hakmem_ids() {{ local -a ids; ids=(${{(f)"$(_hakmem_json id incidents list)"}}); compadd -a ids }}
_hakmem_keys() {{ compadd -S = {keys} }}

{functions}
_hakmem "$@"
"""


def functions(command, prefix=()):
    """Every command of the tree with its path, the root first."""
    path = (*prefix, command["name"])
    yield path, command
    for inner in command["commands"]:
        yield from functions(inner, path)


def named(command):
    return [option for option in command["options"] if not option["positional"]]


def positionals(command):
    return [option for option in command["options"] if option["positional"]]


def bash_candidates(option):
    if option["values"]:
        return f"compgen -W \"{' '.join(option['values'])}\" -- \"$cur\""
    return BASH_CANDIDATES.get(option["name"] if option["positional"] else option["type"], "")


def reply(candidates):
    return f"mapfile -t COMPREPLY < <({candidates})" if candidates else ":"


def bash(reference):
    subcommands, values, options, arguments = [], [], [], []
    for path, command in functions(reference["command"]):
        here = " ".join(path)
        for inner in command["commands"]:
            subcommands.append(f"        \"{here} {inner['name']}\") path=\"{here} {inner['name']}\" ;;")
        for option in named(command):
            if option["type"] or option["values"]:
                end = "[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null; return"
                values.append(f"    \"{here} {option['name']}\") {reply(bash_candidates(option))}; {end} ;;")
        flags = " ".join(option["name"] for option in named(command))
        options.append(f"        \"{here}\") {reply(f'compgen -W {chr(34)}{flags}{chr(34)} -- {chr(34)}$cur{chr(34)}')} ;;")
        if command["commands"]:
            names = " ".join(inner["name"] for inner in command["commands"])
            arguments.append(f"    \"{here}\") {reply(f'compgen -W {chr(34)}{names}{chr(34)} -- {chr(34)}$cur{chr(34)}')} ;;")
            continue
        wanted = positionals(command)
        lines = [f"        {'*' if option['repeatable'] else number}) {reply(bash_candidates(option))} ;;"
                 for number, option in enumerate(wanted)]
        if lines:
            arguments.append("\n".join([f"    \"{here}\")", "        case $positional in", *lines, "        esac", "        ;;"]))
    keys = " ".join(option["key"] for option in reference["options"])
    return BASH.format(keys=keys, subcommands="\n".join(subcommands), values="\n".join(values),
                       options="\n".join(options), arguments="\n".join(arguments))


def zsh_quoted(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_action(option):
    if option["values"]:
        return f"({' '.join(option['values'])})"
    return ZSH_ACTIONS.get(option["name"] if option["positional"] else option["type"], "")


def zsh_spec(option):
    if option["positional"]:
        return f"'{'*' if option['repeatable'] else ''}:{zsh_quoted(option['name'])}:{zsh_action(option)}'"
    spec = f"{'*' if option['repeatable'] else ''}{option['name']}[{zsh_quoted(option['text'])}]"
    if option["type"] or option["values"]:
        spec += f":{zsh_quoted(option['type'] or option['name'])}:{zsh_action(option)}"
    return f"'{spec}'"


def zsh(reference):
    bodies = []
    for path, command in functions(reference["command"]):
        name = "_" + "_".join(path)
        specs = [zsh_spec(option) for option in named(command)]
        if command["commands"]:
            rows = "\n".join(f"                '{inner['name']}:{zsh_quoted(inner['text'])}'" for inner in command["commands"])
            cases = "\n".join(f"                {inner['name']}) {name}_{inner['name']} ;;" for inner in command["commands"])
            lines = " \\\n        ".join([*specs, "'1: :->command'", "'*:: :->arguments'"])
            bodies.append(f"{name}() {{\n    local state line\n    local -a commands\n    _arguments -C \\\n        {lines}\n"
                          f"    case $state in\n        command)\n            commands=(\n{rows}\n            )\n"
                          f"            _describe command commands\n            ;;\n        arguments)\n"
                          f"            case $line[1] in\n{cases}\n            esac\n            ;;\n    esac\n}}\n")
        else:
            specs += [zsh_spec(option) for option in positionals(command)]
            if path == ("hakmem", "run"):
                specs.append("'*:::command:_normal'")
            lines = " \\\n        ".join(specs)
            bodies.append(f"{name}() {{\n    _arguments -S \\\n        {lines}\n}}\n")
    keys = " ".join(option["key"] for option in reference["options"])
    return ZSH.format(keys=keys, functions="\n".join(bodies))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    reference = json.loads(subprocess.run([sys.argv[1]], capture_output=True, check=True).stdout)
    folder = pathlib.Path(sys.argv[2])
    (folder / "hakmem").write_text(bash(reference))
    (folder / "_hakmem").write_text(zsh(reference))


if __name__ == "__main__":
    main()
