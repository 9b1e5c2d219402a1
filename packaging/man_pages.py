#!/usr/bin/env python3
"""Writes the man pages from what `reference` prints: man_pages.py REFERENCE-PROGRAM FOLDER

hakmem.1 (the command with its subcommands), hakmem-options.7 and hakmem-metrics.7. What no table of the code knows is
in TEXTS below.
"""

import json
import pathlib
import re
import subprocess
import sys

DESCRIPTION = """\
hakmem is a heap allocator that tells who corrupted the heap. A program is run with the diagnostic allocator preloaded;
bad frees and overwritten headers become incidents with function, file and line, the program runs on, and Prometheus can
watch the counters.
"""

EXIT_STATUS = [
    ("0", "What was asked for was done."),
    ("2", "Wrong usage."),
    ("86", "Something was found: `hakmem run --fail-on-incident` saw an incident, `hakmem audit` a corrupt header."),
    ("125", "hakmem itself could not do it; a message says why."),
    ("128+N", "`hakmem run`: signal N ended the command. Any other status of `hakmem run` is the command's own."),
]

ENVIRONMENT = [
    ("HAKMEM_OPTIONS", "Options of the diagnostic library, see hakmem-options(7)."),
    ("HAKMEM_RUNTIME_DIR", "Where segment files are made and looked for, unless an option names another folder."),
    ("HAKMEM_PROCESS", "The value of the label `process` of a watched program, instead of its executable's name."),
    ("HAKMEM_CHILDREN", "`none`: processes that the program starts are not watched, whether by fork or by exec."),
    ("HAKMEM_LIBDIR", "Where `hakmem run` looks for the libraries, instead of beside the command."),
    ("XDG_STATE_HOME", "The incident store is hakmem/incidents.db in it; in ~/.local/state where it is not set."),
    ("DEBUGINFOD_URLS", "Servers that are asked for missing debug files."),
]

FILES = [
    ("/run/hakmem", "Runtime dir of the machine, where it is there and writable."),
    ("$XDG_RUNTIME_DIR/hakmem, /tmp/hakmem-UID", "Runtime dir of a user, where there is no /run/hakmem."),
    ("/var/lib/hakmem/incidents.db", "Incident store of the systemd unit hakmem-exporter.service."),
]

EXAMPLES = [
    ("hakmem run -- ./my_server", "Run a program, serve the page and the metrics until it ends."),
    ("hakmem run --fail-on-incident -- make test", "In CI: status 86 if anything was seen."),
    ("hakmem incidents show ID", "One incident with its stacks."),
    ("hakmem set PID level=guard", "Turn the level up in a process that runs."),
]


def escaped(text):
    """Text as roff takes it: no backslash, leading dot or hyphen of its own is interpreted."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def paragraphs(text):
    return "\n".join(f".br\n{escaped(line)}" if number else escaped(line) for number, line in enumerate(text.splitlines()))


def tagged(rows):
    return "\n".join(f".TP\n\\fB{escaped(name)}\\fR\n{escaped(text)}" for name, text in rows)


def page(name, section, summary, version, *sections):
    parts = [f'.TH {name.upper()} {section} "" "hakmem {version}" "hakmem"',
             f".SH NAME\n{name} \\- {escaped(summary)}"]
    parts += [f".SH {title}\n{body}" for title, body in sections]
    return "\n".join(parts) + "\n"


def option_name(option):
    """`--store FILE`, as it stands in front of its description."""
    names = ", ".join(filter(None, [option["short"], option["name"]]))
    value = option["type"] and f" \\fI{escaped(option['type'])}\\fR"
    return f"\\fB{escaped(names)}\\fR{'' if option['positional'] else value}"


def option_text(option):
    text = option["text"].rstrip(".") + "."
    # Where the text doesn't name the values itself.
    if option["values"] and not all(value in text for value in option["values"]):
        text += f" One of {', '.join(option['values'])}."
    if option["range"]:
        text += f" From {option['range'].replace(' - ', ' to ')}."
    if option["default"] and not option["positional"]:
        text += f" Default: {option['default'].removeprefix('/') if '$' in option['default'] else option['default']}."
    if option["repeatable"] and not option["positional"]:
        text += " May be given more than once."
    return text


def every_subcommand(command, prefix=""):
    """Leaves of the tree with their whole name, such as `hakmem incidents list`."""
    name = f"{prefix} {command['name']}".strip()
    if not command["commands"]:
        yield name, command
    for inner in command["commands"]:
        yield from every_subcommand(inner, name)


def synopsis(name, command):
    line = f".B {escaped(name)}\n.RI [ option .\\|.\\|.]"
    for option in command["options"]:
        if option["positional"]:
            more = " .\\|.\\|." if option["repeatable"] else ""
            line += f"\n.I {escaped(option['name'])}{more}"
    return line + ("\n.B \\-\\-\n.IR command\\  [ arg .\\|.\\|.]" if name == "hakmem run" else "")


def subcommand(name, command, common):
    own = [option for option in command["options"] if option["name"] not in common]
    body = [f".SS {escaped(name)}\n{escaped(command['text'])}."]
    body += [f".TP\n{option_name(option)}\n{escaped(option_text(option))}" for option in own]
    if command["footer"]:
        body.append(f".PP\n{paragraphs(command['footer'])}")
    return "\n".join(body)


def command_page(reference):
    commands = list(every_subcommand(reference["command"]))
    everywhere = [option for option in commands[0][1]["options"]
                  if all(option in command["options"] for _, command in commands)]
    common = {option["name"] for option in everywhere}
    summary = "tell who corrupted the heap of a running program"
    return page(
        "hakmem", 1, summary, reference["version"],
        ("SYNOPSIS", "\n.br\n".join(synopsis(name, command) for name, command in commands)),
        ("DESCRIPTION", escaped(DESCRIPTION.strip())),
        ("COMMANDS", "\n".join(subcommand(name, command, common) for name, command in commands)),
        ("OPTIONS OF EVERY COMMAND",
         "\n".join(f".TP\n{option_name(option)}\n{escaped(option_text(option))}" for option in everywhere)),
        ("EXIT STATUS", tagged(EXIT_STATUS)),
        ("ENVIRONMENT", tagged(ENVIRONMENT)),
        ("FILES", tagged(FILES)),
        ("EXAMPLES", tagged(EXAMPLES)),
        ("SEE ALSO", ".BR hakmem\\-options (7),\n.BR hakmem\\-metrics (7),\n.BR ld.so (8)"))


def options_page(reference):
    rows = [(option["key"], f"{option['meaning']}. Values: {option['values']}. "
             f"Default: {option['default'] or 'none'}.") for option in reference["options"]]
    return page(
        "hakmem-options", 7, "options of hakmem's diagnostic library", reference["version"],
        ("SYNOPSIS", ".BI HAKMEM_OPTIONS= key = value\n.RB [ : \\fIkey\\fR = \\fIvalue\\fR .\\|.\\|.]"),
        ("DESCRIPTION", escaped(
            "The diagnostic library reads its options from the environment when a program starts. `hakmem run` passes on "
            "what --option names. An unknown key or a bad value is told on stderr, and the rest still counts. "
            "`hakmem set` changes some of them in a process that runs.")),
        ("OPTIONS", tagged(rows)),
        ("SEE ALSO", ".BR hakmem (1),\n.BR hakmem\\-metrics (7)"))


def metrics_page(reference):
    rows = []
    for metric in reference["metrics"]:
        labels = ", ".join(filter(None, ["process" if metric["by_process"] else "", metric["label"]]))
        rows.append((metric["name"], f"{metric['help']} {metric['type'].capitalize()}"
                     f"{', by ' + labels if labels else ''}."))
    return page(
        "hakmem-metrics", 7, "metrics of hakmem's exporter", reference["version"],
        ("DESCRIPTION", escaped(
            "What `hakmem exporter` and `hakmem run` serve at /metrics in the text format of Prometheus. Values of "
            "processes that have ended stay in the sums, so a counter never falls while the exporter lives. With "
            "--label-pid, every series of a process has the label pid as well.")),
        ("METRICS", tagged(rows)),
        ("SEE ALSO", ".BR hakmem (1),\n.BR hakmem\\-options (7)"))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, folder = sys.argv[1:]
    reference = json.loads(subprocess.run([program], capture_output=True, check=True).stdout)
    pages = {"hakmem.1": command_page, "hakmem-options.7": options_page, "hakmem-metrics.7": metrics_page}
    for name, make in pages.items():
        (pathlib.Path(folder) / name).write_text(make(reference))


if __name__ == "__main__":
    main()
