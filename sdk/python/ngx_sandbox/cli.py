"""sandboxctl: sandboxes from the shell."""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import shlex
import sys
import tarfile
import threading
import uuid
import webbrowser
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional

from . import __version__
from ._sync.client import Client
from ._sync.sandbox import Sandbox
from .errors import ProcessNotFoundError, SandboxError, \
    SandboxNotFoundError

PIECE = 256 * 1024
PROGRESS_FROM = 4 * 1024 * 1024

COMPLETION = """\
_sandboxctl() {
    local current=${COMP_WORDS[COMP_CWORD]}
    local commands="completion cp create env exec expose ls logs open ports ps
        rm run show sleep stop unexpose wake"
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "$commands" -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "--json --help" -- "$current"))
    else
        case ${COMP_WORDS[1]} in
            completion) COMPREPLY=($(compgen -W bash -- "$current")) ;;
            create|run|ls) ;;
            cp) COMPREPLY=($(compgen -f -- "$current") \\
                    $(compgen -S : -W "$(sandboxctl ls -q 2>/dev/null)" \\
                              -- "$current")) ;;
            *) COMPREPLY=($(compgen -W "$(sandboxctl ls -q 2>/dev/null)" \\
                                    -- "$current")) ;;
        esac
    fi
}
complete -F _sandboxctl sandboxctl
"""


class Usage(Exception):
    """What was typed makes no sense."""


def say(text: str) -> None:
    print(text, file=sys.stderr)


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def write_out(stream: str, text: str) -> None:
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(text)
    target.flush()


class Progress:
    """A line on a terminal for transfers that take a while."""

    def __init__(self, what: str, total: Optional[int]) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self.shown = False
        self.quiet = not sys.stderr.isatty()
        self.step = PROGRESS_FROM

    def add(self, size: int) -> None:
        self.done += size

        if not self.quiet and self.done >= self.step:
            self.step = self.done + PROGRESS_FROM
            self.shown = True
            part = f" of {self.total / 2**20:.0f}" if self.total else ""
            sys.stderr.write(f"\r{self.what}: {self.done / 2**20:.0f}{part}"
                             " MiB")
            sys.stderr.flush()

    def end(self) -> None:
        if self.shown:
            sys.stderr.write(f"\r{self.what}: {self.done / 2**20:.1f} MiB\n")


def make_client(args: argparse.Namespace) -> Client:
    key = args.key or os.environ.get("SANDBOX_API_KEY")

    if not key:
        path = os.environ.get("SANDBOX_API_KEY_FILE", "run/api-key")

        try:
            key = Path(path).read_text().strip()
        except OSError as error:
            raise Usage("no key: set SANDBOX_API_KEY, or SANDBOX_API_KEY_FILE "
                        f"to a file that holds one ({error})") from error

    return Client(args.endpoint, key)


def limits_of(pairs: Optional[list[str]]) -> Optional[dict[str, Any]]:
    return {name: int(value) if value.isdigit() else value
            for name, value in (labels_of(pairs or []) or {}).items()} or None


def labels_of(pairs: list[str]) -> Optional[dict[str, str]]:
    labels = {}

    for pair in pairs:
        name, separator, value = pair.partition("=")

        if not separator:
            raise Usage(f"'{pair}' is no NAME=VALUE")

        labels[name] = value

    return labels or None


def creation(args: argparse.Namespace) -> dict[str, Any]:
    resources = {name: value for name, value in (
        ("cpu", args.cpu), ("memory", args.memory), ("disk", args.disk))
        if value is not None}

    return {"image": args.image, "sleep_after": args.sleep_after,
            "keep_alive": args.keep_alive or None,
            "labels": labels_of(args.label), "env": labels_of(args.env),
            "resources": resources or None}


def cmd_create(client: Client, args: argparse.Namespace) -> int:
    wanted = {name: value for name, value in {
        "id": args.sandbox, **{
            {"sleep_after": "sleepAfter",
             "keep_alive": "keepAlive"}.get(name, name): value
            for name, value in creation(args).items()}}.items()
        if value is not None}
    answer = client.json("POST", "/v1/sandbox", json=wanted)

    for warning in answer.get("warnings") or []:
        say(f"sandboxctl: warning: {warning}")

    show_json(answer) if args.json else print(answer["id"])

    return 0


def pages(client: Client) -> Iterator[dict[str, Any]]:
    cursor = None

    while True:
        page, cursor = client.list_sandboxes(limit=500, cursor=cursor)
        yield from page

        if cursor is None:
            return


def table(rows: list[list[str]], head: list[str]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows])
              for i in range(len(head))]

    for row in [head, *rows]:
        print("  ".join(cell.ljust(width)
                        for cell, width in zip(row, widths)).rstrip())


def cmd_ls(client: Client, args: argparse.Namespace) -> int:
    records = list(pages(client))

    if args.json:
        show_json(records)
    elif args.quiet:
        for record in records:
            print(record["id"])
    else:
        table([[r["id"], r["state"], r.get("image") or "",
                (r.get("startedAt") or "never")[:19],
                ",".join(f"{k}={v}" for k, v in
                         sorted((r.get("labels") or {}).items()))]
               for r in records],
              ["ID", "STATE", "IMAGE", "STARTED", "LABELS"])

    return 0


def cmd_show(client: Client, args: argparse.Namespace) -> int:
    show_json(Sandbox(args.sandbox, client=client).record())

    return 0


def command_line(words: list[str]) -> str:
    """One word is a line of bash, several are a program's arguments."""
    if not words:
        raise Usage("what shall run? For a terminal: exec -it SANDBOX")

    return words[0] if len(words) == 1 else shlex.join(words)


def exec_and_print(sandbox: Sandbox, args: argparse.Namespace,
                   command: str) -> int:
    options: dict[str, Any] = {"cwd": args.cwd, "timeout": args.timeout}

    if not sys.stdin.isatty() and args.stdin:
        options["stdin"] = sys.stdin.read()

    if args.json:
        result = sandbox.exec(command, **options)
        show_json({"exitCode": result.exit_code, "stdout": result.stdout,
                   "stderr": result.stderr, "duration": result.duration})

        return result.exit_code

    process = f"ctl-{uuid.uuid4().hex[:12]}"
    code = 1

    try:
        for event in sandbox.exec_stream(command, process_id=process,
                                         **options):
            if event["type"] in ("stdout", "stderr"):
                write_out(event["type"], event["data"])
            elif event["type"] == "complete":
                code = event["exitCode"]
    except KeyboardInterrupt:
        # What was started from here ends from here.
        if found := sandbox.get_process(process):
            try:
                found.kill("SIGINT")
            except SandboxError:
                pass
        raise

    return code


def cmd_exec(client: Client, args: argparse.Namespace) -> int:
    sandbox = Sandbox(args.sandbox, client=client,
                      enable_default_session=not args.no_session)

    if args.tty:
        from .cli_terminal import attach

        return attach(client, sandbox, args.session, args.words)

    if args.session:
        session = sandbox.get_session(args.session)
        return exec_and_print(session, args, command_line(args.words))

    return exec_and_print(sandbox, args, command_line(args.words))


def cmd_run(client: Client, args: argparse.Namespace) -> int:
    """A sandbox for one command; files named in it go along."""
    command = command_line(args.words)
    sandbox = Sandbox(args.name or f"run-{uuid.uuid4().hex[:16]}",
                      client=client, enable_default_session=False,
                      **creation(args))

    try:
        for word in args.words[1:]:
            path = Path(word)

            if path.is_file() and not path.is_absolute() \
                    and ".." not in path.parts:
                upload_file(sandbox, path, f"/workspace/{path.as_posix()}")

        return exec_and_print(sandbox, args, command)
    finally:
        if not args.keep:
            sandbox.destroy()
        elif not args.json:
            say(f"sandboxctl: kept as {sandbox.id}")


def upload_file(sandbox: Sandbox, source: Path, target: str) -> None:
    progress = Progress(f"{source} → {target}", source.stat().st_size)

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        while piece := file.read(PIECE):
            progress.add(len(piece))
            yield piece

    with source.open("rb") as file:
        sandbox.write_file(target, pieces(file))

    progress.end()


def upload_tree(sandbox: Sandbox, source: Path, target: str) -> None:
    read_end, write_end = os.pipe()
    progress = Progress(f"{source} → {target}", None)
    failure: list[BaseException] = []

    def pack() -> None:
        try:
            with os.fdopen(write_end, "wb") as out, \
                    tarfile.open(fileobj=out, mode="w|",
                                 format=tarfile.PAX_FORMAT) as tar:
                tar.add(source, arcname=".")
        except BrokenPipeError:
            pass                        # the server has refused it: told there
        except BaseException as error:  # told by the main thread
            failure.append(error)

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        while piece := file.read(PIECE):
            progress.add(len(piece))
            yield piece

        packer.join()

        # An archive that lacks something must not look like a whole one.
        if failure:
            raise failure[0]

    packer = threading.Thread(target=pack, daemon=True)
    packer.start()

    with os.fdopen(read_end, "rb") as file:
        sandbox.upload_archive(target, pieces(file))

    progress.end()


def download_file(sandbox: Sandbox, source: str, target: Path) -> None:
    progress = Progress(f"{source} → {target}", None)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")

    try:
        with partial.open("wb") as file:
            for piece in sandbox.read_stream(source):
                file.write(piece)
                progress.add(len(piece))

        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

    progress.end()


def extract(tar: tarfile.TarFile, target: Path) -> None:
    """The sandbox is not trusted: nothing outside of target, no devices."""
    if hasattr(tarfile, "data_filter"):
        tar.extractall(target, filter="data")
        return

    # Python before 3.11.4.
    root = target.resolve()

    def inside(path: Path) -> bool:
        return path == root or root in path.parents

    for member in tar:
        place = root / member.name

        if place == root and member.isdir():
            continue

        refers = place.parent / member.linkname if member.issym() \
            else root / member.linkname

        if not inside(Path(os.path.normpath(place))) \
                or not inside(place.parent.resolve()) \
                or place.is_symlink() or member.isdev() \
                or ((member.issym() or member.islnk())
                    and not inside(refers.resolve())):
            raise tarfile.TarError(f"{member.name}: would lead outside")

        member.mode &= 0o755
        member.uid, member.gid = os.getuid(), os.getgid()
        member.uname = member.gname = ""
        tar.extract(member, root)


def download_tree(sandbox: Sandbox, source: str, target: Path) -> None:
    progress = Progress(f"{source} → {target}", None)
    read_end, write_end = os.pipe()
    failure: list[BaseException] = []

    def fetch() -> None:
        try:
            with os.fdopen(write_end, "wb") as out:
                for piece in sandbox.download_archive(source):
                    out.write(piece)
                    progress.add(len(piece))
        except BrokenPipeError:
            pass                        # what was extracted is told there
        except BaseException as error:
            failure.append(error)

    fetcher = threading.Thread(target=fetch, daemon=True)
    fetcher.start()
    target.mkdir(parents=True, exist_ok=True)

    try:
        with os.fdopen(read_end, "rb") as file, \
                tarfile.open(fileobj=file, mode="r|") as tar:
            extract(tar, target)

            # The padding behind an archive's end.
            while file.read(PIECE):
                pass
    except tarfile.TarError:
        fetcher.join()

        if not failure:
            raise

    fetcher.join()

    if failure:
        raise failure[0]

    progress.end()


def cmd_cp(client: Client, args: argparse.Namespace) -> int:
    """SANDBOX:PATH on one side, a local path on the other."""

    def split(name: str) -> tuple[Optional[str], str]:
        head, separator, rest = name.partition(":")

        return (head, rest or "/workspace") \
            if separator and "/" not in head and head else (None, name)

    (from_id, source), (to_id, target) = split(args.source), split(args.target)

    if (from_id is None) == (to_id is None):
        raise Usage("one side is SANDBOX:PATH, the other one a local path")

    if to_id is not None:
        sandbox = Sandbox(to_id, client=client)
        path = Path(source)

        if not path.exists():
            raise Usage(f"there is no {path}")

        into = target.endswith("/") or is_directory(sandbox, target)
        target = posixpath.join("/workspace", target)

        if into:
            target = posixpath.join(target, path.resolve().name)

        (upload_tree if path.is_dir() else upload_file)(sandbox, path, target)

        return 0

    assert from_id is not None
    sandbox = Sandbox(from_id, client=client)
    source = posixpath.join("/workspace", source)
    path = Path(target)

    if path.is_dir() or target.endswith("/"):
        path = path / (posixpath.basename(source.rstrip("/")) or from_id)

    if is_directory(sandbox, source):
        download_tree(sandbox, source, path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        download_file(sandbox, source, path)

    return 0


def is_directory(sandbox: Sandbox, path: str) -> bool:
    quoted = shlex.quote(posixpath.join("/workspace", path))

    return sandbox.exec(f"test -d {quoted}").success


def cmd_ps(client: Client, args: argparse.Namespace) -> int:
    processes = Sandbox(args.sandbox, client=client).list_processes()

    if args.json:
        show_json([vars(p.info) for p in processes])
    else:
        table([[p.id, str(p.pid or ""), p.status,
                "" if p.exit_code is None else str(p.exit_code),
                p.command.replace("\n", " ")[:60]] for p in processes],
              ["ID", "PID", "STATUS", "CODE", "COMMAND"])

    return 0


def cmd_logs(client: Client, args: argparse.Namespace) -> int:
    process = Sandbox(args.sandbox, client=client).get_process(args.process)

    if process is None:
        raise ProcessNotFoundError(f"there is no process {args.process}",
                                   "PROCESS_NOT_FOUND")

    if args.follow:
        for stream, text in process.follow():
            write_out(stream, text)

        return process.refresh().exit_code or 0

    logs = process.logs()

    if args.json:
        show_json({"stdout": logs.stdout, "stderr": logs.stderr})
    else:
        write_out("stdout", logs.stdout)
        write_out("stderr", logs.stderr)

    return 0


def cmd_stop(client: Client, args: argparse.Namespace) -> int:
    process = Sandbox(args.sandbox, client=client).get_process(args.process)

    if process is None:
        raise ProcessNotFoundError(f"there is no process {args.process}",
                                   "PROCESS_NOT_FOUND")

    process.kill(args.signal)

    return 0


def cmd_expose(client: Client, args: argparse.Namespace) -> int:
    exposed = Sandbox(args.sandbox, client=client).expose_port(
        args.port, name=args.name, access=args.access, token=args.token,
        host=args.host, hostname=args.hostname, hostnames=args.hostnames,
        wake=args.wake, wakes_per_minute=args.wakes_per_minute,
        limits=limits_of(args.limit))

    show_json(vars(exposed)) if args.json else print(exposed.url)

    return 0


def cmd_unexpose(client: Client, args: argparse.Namespace) -> int:
    Sandbox(args.sandbox, client=client).unexpose_port(args.port)

    return 0


def cmd_ports(client: Client, args: argparse.Namespace) -> int:
    exposed = Sandbox(args.sandbox, client=client).list_ports()

    if args.json:
        show_json([vars(port) for port in exposed])
    else:
        table([[str(p.port), p.access, p.name or "", p.url] for p in exposed],
              ["PORT", "ACCESS", "NAME", "URL"])

    return 0


def cmd_open(client: Client, args: argparse.Namespace) -> int:
    """Exposes the port if need be and shows it in a browser."""
    sandbox = Sandbox(args.sandbox, client=client)
    found = [p for p in sandbox.list_ports() if p.port == args.port]
    exposed = found[0] if found else sandbox.expose_port(args.port)
    url = exposed.url

    if exposed.access == "private":
        url = sandbox.create_preview_link(args.port).url

    print(url)

    if not args.print_only:
        webbrowser.open(url)

    return 0


def cmd_env(client: Client, args: argparse.Namespace) -> int:
    sandbox = Sandbox(args.sandbox, client=client)

    if args.pairs:
        changes: dict[str, Optional[str]] = {}

        for pair in args.pairs:
            name, separator, value = pair.partition("=")
            changes[name] = value if separator else None

        sandbox.set_env_vars(changes)
    else:
        for name in sandbox.record()["env"]:
            print(name)

    return 0


def cmd_sleep(client: Client, args: argparse.Namespace) -> int:
    Sandbox(args.sandbox, client=client).sleep()

    return 0


def cmd_wake(client: Client, args: argparse.Namespace) -> int:
    Sandbox(args.sandbox, client=client).wake()

    return 0


def cmd_rm(client: Client, args: argparse.Namespace) -> int:
    status = 0

    for name in args.sandboxes:
        sandbox = Sandbox(name, client=client)

        try:
            if not args.force:
                sandbox.record()

            sandbox.destroy()
        except SandboxNotFoundError:
            say(f"sandboxctl: there is no sandbox {name}")
            status = 1

    return status


def cmd_completion(_client: Optional[Client],
                   _args: argparse.Namespace) -> int:
    sys.stdout.write(COMPLETION)

    return 0


def add_creation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", help="name of an image of the server")
    parser.add_argument("--sleep-after", metavar="TIME",
                        help='idle time, like "90s" or "10m"')
    parser.add_argument("--keep-alive", action="store_true",
                        help="never sleeps by itself")
    parser.add_argument("--label", action="append", default=[],
                        metavar="NAME=VALUE")
    parser.add_argument("--env", "-e", action="append", default=[],
                        metavar="NAME=VALUE")
    parser.add_argument("--cpu", type=float, help="processors")
    parser.add_argument("--memory", help='like "512M"')
    parser.add_argument("--disk", help='like "2G"')


def add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cwd", help="directory inside")
    parser.add_argument("--timeout", type=float, help="seconds")
    parser.add_argument("-i", "--stdin", action="store_true",
                        help="hand standard input on")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandboxctl", description="Sandboxes from the shell.",
        epilog="The server is --endpoint or SANDBOX_ENDPOINT "
               "(http://127.0.0.1:8080), the key SANDBOX_API_KEY, or in the "
               "file SANDBOX_API_KEY_FILE (run/api-key).")
    parser.add_argument("--endpoint", help="address of the control API")
    parser.add_argument("--key", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version",
                        version=f"sandboxctl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND",
                                     required=True)

    def add(name: str, function: Any, text: str,
            sandbox: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        sub.add_argument("--json", action="store_true",
                         help="answer in JSON")
        if sandbox:
            sub.add_argument("sandbox", metavar="SANDBOX")
        return sub

    sub = add("run", cmd_run, "Runs one command in a sandbox of its own, "
              "which is removed afterwards; local files that are named in the "
              "command go along.", sandbox=False)
    sub.add_argument("--name", help="the sandbox's id")
    sub.add_argument("--keep", action="store_true", help="don't remove it")
    add_creation(sub)
    add_execution(sub)
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")

    sub = add("create", cmd_create, "Makes a sandbox and prints its id.",
              sandbox=False)
    sub.add_argument("sandbox", nargs="?", metavar="SANDBOX")
    add_creation(sub)

    sub = add("ls", cmd_ls, "Lists sandboxes.", sandbox=False)
    sub.add_argument("-q", "--quiet", action="store_true", help="only ids")

    add("show", cmd_show, "Shows a sandbox's record.")

    sub = add("exec", cmd_exec, "Runs a command inside; with -it in a "
              "terminal.")
    sub.add_argument("-t", "--tty", action="store_true",
                     help="a terminal (with -i)")
    sub.add_argument("--session", help="run it in this session")
    sub.add_argument("--no-session", action="store_true",
                     help="a shell of its own")
    add_execution(sub)
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")

    sub = add("cp", cmd_cp, "Copies a file or directory: one side is "
              "SANDBOX:PATH.", sandbox=False)
    sub.add_argument("source", metavar="SOURCE")
    sub.add_argument("target", metavar="TARGET")

    add("ps", cmd_ps, "Lists processes.")

    sub = add("logs", cmd_logs, "Shows a process's output.")
    sub.add_argument("process", metavar="PROCESS")
    sub.add_argument("-f", "--follow", action="store_true",
                     help="until it has ended")

    sub = add("stop", cmd_stop, "Ends a process and what it has started.")
    sub.add_argument("process", metavar="PROCESS")
    sub.add_argument("--signal", help="SIGTERM")

    sub = add("expose", cmd_expose, "Gives a port an address and prints it.")
    sub.add_argument("port", type=int, metavar="PORT")
    sub.add_argument("--name")
    sub.add_argument("--access", choices=["token", "public", "private"])
    sub.add_argument("--token", help="of the address, instead of a random one")
    sub.add_argument("--host", choices=["local", "public"],
                     help="what the service sees as its Host")
    sub.add_argument("--hostname", help="which domain the address is below")
    sub.add_argument("--hostnames", action="append", metavar="NAME",
                     help="a host name of its own; more than once")
    sub.add_argument("--wake", choices=["on", "off"],
                     help="whether visitors wake the sandbox")
    sub.add_argument("--wakes-per-minute", type=int, metavar="N")
    sub.add_argument("--limit", action="append", metavar="NAME=N",
                     help="of its visitors, as the API names it")

    sub = add("unexpose", cmd_unexpose, "Takes a port's address away.")
    sub.add_argument("port", type=int, metavar="PORT")

    add("ports", cmd_ports, "Lists exposed ports.")

    sub = add("open", cmd_open, "Shows a port in a browser.")
    sub.add_argument("port", type=int, metavar="PORT")
    sub.add_argument("--print-only", action="store_true",
                     help="only print the address")

    sub = add("env", cmd_env, "Sets variables (NAME=VALUE), takes them away "
              "(NAME), or lists their names.")
    sub.add_argument("pairs", nargs="*", metavar="NAME[=VALUE]")

    add("sleep", cmd_sleep, "Ends what runs and keeps the files.")
    add("wake", cmd_wake, "Starts a sandbox.")

    sub = add("rm", cmd_rm, "Removes sandboxes with their files.",
              sandbox=False)
    sub.add_argument("-f", "--force", action="store_true",
                     help="no error if there is none")
    sub.add_argument("sandboxes", nargs="+", metavar="SANDBOX")

    sub = add("completion", cmd_completion, "Prints completion for bash: "
              'eval "$(sandboxctl completion bash)".', sandbox=False)
    sub.add_argument("shell", choices=["bash"])

    return parser


@contextmanager
def told() -> Iterator[None]:
    """Failures in one line, as `error (code)`."""
    try:
        yield
    except SandboxError as error:
        hint = f" ({error.code.lower()})" if error.code else ""
        say(f"sandboxctl: {error}{hint}")
        raise SystemExit(255) from None
    except Usage as error:
        say(f"sandboxctl: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except (OSError, tarfile.TarError) as error:
        say(f"sandboxctl: {error}")
        raise SystemExit(1) from None


def main(arguments: Optional[list[str]] = None) -> int:
    args = make_parser().parse_args(arguments)

    if getattr(args, "words", None) and args.words[0] == "--":
        del args.words[0]

    with told():
        if args.function is cmd_completion:
            return cmd_completion(None, args)

        with make_client(args) as client:
            return args.function(client, args)


if __name__ == "__main__":
    sys.exit(main())
