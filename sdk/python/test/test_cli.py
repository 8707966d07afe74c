"""sandboxctl, typed as a user would."""

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

CTL = [sys.executable, "-m", "ngx_sandbox.cli"]


def ctl(*arguments, status=0, **options):
    done = subprocess.run([*CTL, *arguments], capture_output=True, text=True,
                          timeout=60, **options)
    assert done.returncode == status, (arguments, done)

    return done.stdout if status == 0 else done.stderr


class CommandLine(unittest.TestCase):
    def test_run(self):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "script.py").write_text("print(6 * 7)\n")
            before = ctl("ls", "-q")
            self.assertEqual(ctl("run", "--", "python3", "script.py",
                                 cwd=directory), "42\n")
            self.assertEqual(ctl("ls", "-q"), before)

        ctl("run", "exit 3", status=3)
        self.assertEqual(ctl("run", "-i", "--", "wc", "-c", input="four"),
                         "4\n")
        self.assertEqual(json.loads(ctl("run", "--json", "--env", "A=b",
                                        "echo $A"))["stdout"], "b\n")

    def test_a_day(self):
        name = ctl("create", "--label", "kind=cli").strip()

        try:
            self.assertIn(name, ctl("ls"))
            self.assertEqual(json.loads(ctl("show", name))["labels"],
                             {"kind": "cli"})
            self.assertEqual(ctl("exec", name, "--", "echo", "a b"), "a b\n")
            ctl("exec", name, "cd /tmp; x=1")
            self.assertEqual(ctl("exec", "--cwd", "/usr", name, "pwd"),
                             "/usr\n")
            self.copying(name)
            self.serving(name)
        finally:
            ctl("rm", name)

        self.assertIn("there is no sandbox", ctl("rm", name, status=1))
        ctl("rm", "-f", name)

    def copying(self, name):
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory, "tree")
            tree.mkdir()
            (tree / "a").write_text("a")
            (tree / "b").write_bytes(os.urandom(3_000_000))
            ctl("cp", str(tree), f"{name}:/workspace/copied")
            ctl("cp", str(tree / "a"), f"{name}:one")
            self.assertEqual(ctl("exec", name, "cat /workspace/one"), "a")
            ctl("cp", f"{name}:copied", str(Path(directory, "back")))
            self.assertEqual(Path(directory, "back", "b").read_bytes(),
                             (tree / "b").read_bytes())
            ctl("cp", f"{name}:copied/a", directory)
            self.assertEqual(Path(directory, "a").read_text(), "a")
            ctl("cp", f"{name}:/workspace/none", directory, status=255)
            self.assertFalse(Path(directory, "none").exists())
            ctl("cp", "a", "b", status=2)

    def serving(self, name):
        from ngx_sandbox import Sandbox

        with Sandbox(name) as sandbox:
            sandbox.start_process("echo begun; sleep 60", process_id="srv")

        self.assertIn("srv", ctl("ps", name))
        self.assertEqual(ctl("logs", name, "srv"), "begun\n")
        ctl("stop", name, "srv")
        self.assertEqual(ctl("logs", "-f", name, "srv", status=143), "")
        url = ctl("expose", name, "8000", "--name", "web").strip()
        self.assertEqual(json.loads(ctl("ports", "--json", name))[0]["url"],
                         url)
        self.assertEqual(ctl("open", "--print-only", name, "8000").strip(),
                         url)
        ctl("unexpose", name, "8000")

        ctl("expose", name, "8001", "--access", "public", "--host", "public",
            "--wake", "off", "--wakes-per-minute", "7", "--limit",
            "connections=5", "--limit", "bandwidthOut=1M")
        port = json.loads(ctl("ports", "--json", name))[0]
        self.assertEqual((port["access"], port["host"], port["wake"],
                          port["wakes_per_minute"]),
                         ("public", "public", "off", 7))
        self.assertIn("token", ctl("expose", name, "8002", "--token", "sesame123",
                                   "--json"))
        ctl("expose", name, "8003", "--limit", "colour=5", status=255)

    def test_terminal(self):
        name = ctl("create").strip()
        pid, terminal = pty.fork()

        if pid == 0:
            os.execv(CTL[0], [*CTL, "exec", "-it", name])

        seen = self.read_until(terminal, b"$ ", b"# ")
        os.write(terminal, b"stty size; echo $((6 * 7))\n")
        seen = self.read_until(terminal, b"42\r\n")
        self.assertRegex(seen, rb"\d+ \d+\r\n")
        os.write(terminal, b"exit 9\n")
        self.read_until(terminal, b"\0never")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 9)
        os.close(terminal)
        ctl("rm", name)

    @staticmethod
    def read_until(terminal, *ends):
        seen, limit = b"", time.monotonic() + 40

        while time.monotonic() < limit \
                and not any(end in seen for end in ends):
            if select.select([terminal], [], [], 1)[0]:
                try:
                    seen += os.read(terminal, 65536)
                except OSError:         # the other side has gone
                    break

        return seen

    def test_mistakes(self):
        self.assertIn("unauthorized", ctl("--key", "wrong", "ls", status=255))
        self.assertIn("no answer", ctl("--endpoint", "http://127.0.0.1:1",
                                       "rm", "x", status=255,
                                       env={**os.environ}))
        self.assertIn("no key", ctl("ls", status=2, env={
            **{k: v for k, v in os.environ.items()
               if k != "SANDBOX_API_KEY"},
            "SANDBOX_API_KEY_FILE": "/nonexistent"}))
        ctl("frobnicate", status=2)
        ctl("exec", "some", status=2)

    def test_completion(self):
        script = ctl("completion", "bash")
        done = subprocess.run(
            ["bash", "-c", script + '\nCOMP_WORDS=(sandboxctl ex)'
             '\nCOMP_CWORD=1\n_sandboxctl\necho "${COMPREPLY[@]}"'],
            capture_output=True, text=True, timeout=20)
        self.assertEqual(done.stdout, "exec expose\n")


if __name__ == "__main__":
    unittest.main()
