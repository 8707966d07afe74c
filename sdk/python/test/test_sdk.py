"""Each method of the library, against a running system.

SANDBOX_ENDPOINT and SANDBOX_API_KEY say where it is.
"""

import asyncio
import io
import os
import secrets
import tarfile
import unittest

import ngx_sandbox as sdk
from ngx_sandbox import AsyncClient, AsyncSandbox, Client, Sandbox

MADE = []


def fresh(**options):
    name = f"py-{secrets.token_hex(5)}"
    MADE.append(name)

    return Sandbox(name, client=CLIENT, **options)


def setUpModule():
    global CLIENT
    CLIENT = Client()


def tearDownModule():
    for name in MADE:
        Sandbox(name, client=CLIENT).destroy()

    CLIENT.close()


class InOneSandbox(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = fresh()


class Commands(InOneSandbox):
    def test_results(self):
        result = self.sandbox.exec("echo out; echo err >&2; exit_code=7")

        self.assertTrue(result.success)
        self.assertEqual(result.stdout.strip(), "out")
        self.assertEqual(result.stderr.strip(), "err")
        self.assertEqual(self.sandbox.exec("(exit $exit_code)").exit_code, 7)

    def test_options(self):
        run = self.sandbox.exec

        self.assertEqual(run("pwd", cwd="/tmp").stdout.strip(), "/tmp")
        self.assertEqual(run('echo "$A"', env={"A": "it's"}).stdout.strip(),
                         "it's")
        self.assertEqual(run("wc -c", stdin="three").stdout.strip(), "5")

        with self.assertRaises(sdk.CommandError) as raised:
            run("sleep 60", timeout=0.3)

        self.assertEqual(raised.exception.code, "COMMAND_EXECUTION_ERROR")

    def test_output_as_it_comes(self):
        seen = []
        result = self.sandbox.exec("echo a; echo b >&2; exit 3",
                                   on_output=lambda *e: seen.append(e))

        self.assertEqual(result.exit_code, 3)
        self.assertEqual(sorted(seen), [("stderr", "b\n"), ("stdout", "a\n")])

    def test_stream(self):
        events = list(self.sandbox.exec_stream("echo 1; exit 4"))

        self.assertEqual(events[0]["type"], "start")
        self.assertEqual(events[-1]["exitCode"], 4)

    def test_without_a_session(self):
        plain = Sandbox(self.sandbox.id, client=CLIENT,
                        enable_default_session=False)

        plain.exec("lost=1")
        self.assertEqual(plain.exec('echo "<$lost>"').stdout, "<>\n")


class Processes(InOneSandbox):
    def test_life(self):
        process = self.sandbox.start_process("echo hello; sleep 60",
                                             process_id="one")

        self.assertEqual(process.wait_for_log("hello", 10).line, "hello")
        self.assertEqual(process.refresh().status, "running")
        self.assertEqual(process.logs().stdout, "hello\n")
        self.assertIn("one", [p.id for p in self.sandbox.list_processes()])
        process.kill()
        self.assertEqual(self.sandbox.get_process("one").exit_code, 143)
        self.assertIsNone(self.sandbox.get_process("nobody"))

    def test_waits(self):
        import re

        process = self.sandbox.start_process("echo on 8123; exit 5")

        self.assertEqual(process.wait_for_log(re.compile(r"ON (\d+)", re.I),
                                              10).match[1], "8123")
        self.assertEqual(process.wait(20), 5)

        with self.assertRaises(sdk.ProcessExitedBeforeReadyError):
            process.wait_for_log("never", 0.5)

        sleeper = self.sandbox.start_process("sleep 60")

        with self.assertRaises(TimeoutError):
            sleeper.wait(0.2)
        with self.assertRaises(sdk.ProcessReadyTimeoutError):
            sleeper.wait_for_port(8999, mode="tcp", timeout=0.3)

        sleeper.signal("KILL")
        self.assertEqual(sleeper.wait(20), 137)

    def test_input_and_following(self):
        process = self.sandbox.start_process("tr a-z A-Z", stdin="one\n",
                                             stdin_open=True)
        process.write_stdin("two\n")
        process.close_stdin()
        self.assertEqual("".join(text for _, text in process.follow()),
                         "ONE\nTWO\n")

    def test_all_at_once(self):
        self.sandbox.start_process("sleep 60")
        self.assertGreaterEqual(self.sandbox.kill_all_processes(), 1)


class Files(InOneSandbox):
    def test_there_and_back(self):
        sandbox = self.sandbox
        data = secrets.token_bytes(100_000)

        sandbox.write_file("/workspace/a/b.txt", "zwölf\n")
        self.assertEqual(sandbox.read_file("/workspace/a/b.txt"), "zwölf\n")
        sandbox.write_file("/workspace/raw", data)
        self.assertEqual(sandbox.read_bytes("/workspace/raw"), data)
        sandbox.write_file("/workspace/raw2", iter([data, data]))
        self.assertEqual(b"".join(sandbox.read_stream("/workspace/raw2")),
                         data * 2)

        with self.assertRaises(FileNotFoundError) as raised:
            sandbox.read_file("/workspace/none")

        self.assertEqual(raised.exception.path, "/workspace/none")
        self.assertEqual(raised.exception.status, 404)

    def test_directories(self):
        sandbox = self.sandbox

        sandbox.mkdir("/workspace/d/e", recursive=True)
        sandbox.write_file("/workspace/d/seen", "")
        sandbox.write_file("/workspace/d/.hidden", "")
        self.assertEqual(sorted(f.name for f in
                                sandbox.list_files("/workspace/d")),
                         ["e", "seen"])
        self.assertIn(".hidden", [f.name for f in sandbox.list_files(
            "/workspace/d", include_hidden=True)])
        sandbox.rename_file("/workspace/d/seen", "/workspace/d/new")
        sandbox.move_file("/workspace/d/new", "/workspace/moved")
        self.assertTrue(sandbox.exists("/workspace/moved"))
        sandbox.delete_file("/workspace/moved")
        self.assertFalse(sandbox.exists("/workspace/moved"))

    def test_archives(self):
        sandbox = self.sandbox

        sandbox.write_file("/workspace/tree/x", "x")
        tar = b"".join(sandbox.download_archive("/workspace/tree"))

        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            self.assertIn("./x", archive.getnames())

        sandbox.upload_archive("/workspace/copy", tar)
        self.assertEqual(sandbox.read_file("/workspace/copy/x"), "x")

    def test_changes(self):
        first = self.sandbox.check_changes(include=["*.log"])

        for change in self.sandbox.watch():
            if change.type == "watching":
                self.sandbox.write_file("/workspace/new.log", "")
            elif change.path == "/workspace/new.log":
                break

        self.assertEqual(self.sandbox.check_changes(
            since=first.version, include=["*.log"]).status, "changed")

    def test_git_and_backups(self):
        sandbox = self.sandbox

        sandbox.exec("git init -q -b main /tmp/origin && cd /tmp/origin && "
                     "git -c user.email=a@b -c user.name=a commit -q "
                     "--allow-empty -m a")
        self.assertEqual(sandbox.git_checkout(
            "file:///tmp/origin", target_dir="/workspace/clone").branch,
            "main")

        with self.assertRaises(sdk.InvalidGitUrlError):
            sandbox.git_checkout("-x")

        sandbox.write_file("/workspace/kept/x", "1")
        backup = sandbox.create_backup("/workspace/kept", name="mine")
        sandbox.write_file("/workspace/kept/x", "2")
        sandbox.restore_backup(backup)
        self.assertEqual(sandbox.read_file("/workspace/kept/x"), "1")

        with self.assertRaises(sdk.BackupNotFoundError):
            sandbox.restore_backup(sdk.Backup("0" * 8 + "-0000" * 3
                                              + "-" + "0" * 12, "/workspace"))
        with self.assertRaises(sdk.InvalidBackupConfigError):
            sandbox.restore_backup(sdk.Backup("../x", "/workspace"))
        with self.assertRaises(sdk.NotSupportedError):
            sandbox.mount_bucket("b", "/mnt")
        with self.assertRaises(sdk.NotSupportedError):
            sandbox.unmount_bucket("/mnt")
        if "SANDBOX_MACHINES" in os.environ:  # which have forks
            sandbox.fork().destroy()
        else:
            with self.assertRaises(sdk.NotSupportedError):
                sandbox.fork()


class Code(InOneSandbox):
    def test_cells(self):
        sandbox = self.sandbox
        result = sandbox.run_code('x = 41\nprint("hi")\nx + 1')

        self.assertEqual((result.text, result.stdout), ("42", "hi\n"))
        self.assertEqual(sandbox.run_code("x").text, "41")
        self.assertEqual(sandbox.run_code("1 / 0").error.name,
                         "ZeroDivisionError")
        self.assertEqual(sandbox.run_code("while True: pass",
                                          timeout=0.5).error.name,
                         "TimeoutError")

    def test_contexts(self):
        sandbox = self.sandbox
        context = sandbox.create_code_context("javascript", env={"A": "b"})

        self.assertEqual(sandbox.run_code("process.env.A",
                                          context=context).text, "'b'")
        self.assertIn(context.id,
                      [c.id for c in sandbox.list_code_contexts()])
        sandbox.delete_code_context(context.id)

        with self.assertRaises(sdk.ContextNotFoundError):
            sandbox.run_code("1", context=context)


class SessionsAndPorts(InOneSandbox):
    def test_session(self):
        sandbox = self.sandbox

        with sandbox.create_session("work", cwd="/tmp",
                                    env={"A": "1"}) as session:
            self.assertEqual(session.exec("cd /usr; echo $A").stdout.strip(),
                             "1")
            session.set_env_vars({"C": "a'b", "A": None})
            self.assertEqual(session.exec('echo "$C<$A>"').stdout.strip(),
                             "a'b<>")
            self.assertIn("work", sandbox.list_sessions())
            with self.assertRaises(sdk.SessionAlreadyExistsError):
                sandbox.create_session("work")

        self.assertNotIn("work", sandbox.list_sessions())
        with self.assertRaises(sdk.SessionTerminatedError):
            sandbox.get_session("short").exec("exit 3")
        with self.assertRaises(sdk.SessionError):
            sandbox.delete_session(f"sandbox-{sandbox.id}")

    def test_ports(self):
        sandbox = self.sandbox
        server = sandbox.start_process("python3 -m http.server 8000")

        server.wait_for_port(8000, timeout=30)
        exposed = sandbox.expose_port(8000, name="web")
        self.assertIn(exposed.token, exposed.url)
        self.assertEqual([p.port for p in sandbox.list_ports()], [8000])
        self.assertTrue(sandbox.is_port_exposed(8000))
        sandbox.unexpose_port(8000)
        self.assertFalse(sandbox.is_port_exposed(8000))
        with self.assertRaises(sdk.InvalidPortError):
            sandbox.expose_port(80)


class Life(unittest.TestCase):
    def test_options_and_records(self):
        sandbox = fresh(labels={"kind": "test"}, env={"GREETING": "hi"})

        self.assertEqual(sandbox.state(), "absent")
        self.assertEqual(sandbox.exec("echo $GREETING").stdout.strip(), "hi")
        self.assertEqual(sandbox.record()["labels"], {"kind": "test"})
        self.assertEqual(sandbox.state(), "running")

        found, cursor = [], None
        while True:
            page, cursor = CLIENT.list_sandboxes(limit=2, cursor=cursor)
            found += [r["id"] for r in page]
            if cursor is None:
                break

        self.assertIn(sandbox.id, found)
        sandbox.destroy()
        self.assertEqual(sandbox.state(), "absent")

    def test_sleep_and_options(self):
        sandbox = fresh(sleep_after="1h")

        sandbox.set_env_vars({"KEPT": "yes", "GONE": None})
        sandbox.write_file("/workspace/kept", "yes")
        sandbox.sleep()
        self.assertEqual(sandbox.state(), "asleep")
        sandbox.wake()
        self.assertEqual(sandbox.exec("echo $KEPT; cat kept").stdout.strip(),
                         "yes\nyes")
        sandbox.configure(sleep_after=90, keep_alive=True, labels={"a": "b"},
                          container_timeouts={"portReadyTimeoutMS": 60000})
        self.assertEqual(sandbox.record()["options"]["sleepAfter"], 90)
        self.assertEqual(sandbox.record()["labels"], {"a": "b"})
        sandbox.expose_port(8000, access="private")
        self.assertIn("sandbox_link=",
                      sandbox.create_preview_link(8000, expires="5m").url)
        ticket = sandbox.create_ticket("https://app.example.com")
        self.assertTrue(ticket.protocol.startswith("sandbox-ticket."))
        self.assertRegex(ticket.url, r"^ws://.*/v1/sandbox/[^/]+/pty$")

    def test_errors_on_the_way(self):
        with Client(api_key="wrong") as wrong, \
                self.assertRaises(sdk.UnauthorizedError):
            Sandbox("nobody", client=wrong).exec("true")

        with Client("http://127.0.0.1:1", "x", max_attempts=2,
                    base_delay=0.01) as lost, \
                self.assertRaises(sdk.ConnectionLostError):
            Sandbox("nobody", client=lost).exec("true")

        with self.assertRaises(ValueError):
            Sandbox("../x", client=CLIENT)


class Asynchronous(unittest.TestCase):
    def test_main_path(self):
        async def work():
            name = f"py-{secrets.token_hex(5)}"
            MADE.append(name)

            async with AsyncClient() as client, \
                    AsyncSandbox(name, client=client,
                                 labels={"a": "b"}) as sandbox:
                results = await asyncio.gather(*(
                    sandbox.get_session(f"s{i}").exec(f"sleep 0.2; echo {i}")
                    for i in range(8)))
                self.assertEqual([r.stdout.strip() for r in results],
                                 [str(i) for i in range(8)])
                events = [e async for e in sandbox.exec_stream("echo 1")]
                self.assertEqual(events[-1]["exitCode"], 0)
                self.assertEqual((await sandbox.run_code("6 * 7")).text, "42")
                await sandbox.write_file("/workspace/x", b"x")
                data = [p async for p in sandbox.read_stream("/workspace/x")]
                self.assertEqual(b"".join(data), b"x")

                # Cancelling ends the waiting, and the connection with it.
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(sandbox.exec("sleep 5"), 0.3)

        asyncio.run(work())


if __name__ == "__main__":
    unittest.main()
