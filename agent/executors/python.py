# Runs cells of Python for the agent: requests come on one descriptor, events
# go to another, what a cell prints goes to its own pipes.  Cells live in the
# real __main__, this file in a namespace of its own.  RICH is the source of
# what is only needed for rich results; it is compiled when it is.

import ast
import builtins
import errno
import io
import json
import linecache
import os
import signal
import sys
import traceback
import _signal
import _thread

REQUESTS, EVENTS, SPARE = 240, 241, (242, 243)
FILE = '<executor>'
PAYLOAD_MAX = 12 * 1024 * 1024      # of one event; the agent takes 16 MiB
TEXT_MAX = 1024 * 1024              # of a text result
FLUSH_LATER = 0.005

# A cell may replace what it finds in modules: keep what is needed here.
os_read, os_write, os_getpid, os_exit = os.read, os.write, os.getpid, os._exit
loads = json.loads
get_ident = _thread.get_ident
fstat, getsignal = os.fstat, _signal.getsignal

home = os_getpid()
main_thread = get_ident()
main = sys.modules['__main__'].__dict__
event_lock = _thread.allocate_lock()
loop = None                         # of asyncio, for top-level await
rich_part = None


class State:
    busy = False                    # a cell runs: SIGINT is for it
    masked = 0                      # it has to wait
    pending = False
    held = None


# ---- Interrupts and events ------------------------------------------------

dumps = json.JSONEncoder(separators=(',', ':'), allow_nan=False,
                         check_circular=True).encode
quoted = json.encoder.encode_basestring_ascii


def on_sigint(signum, frame):
    if os_getpid() != home:
        raise KeyboardInterrupt
    if not State.busy:
        return
    if State.masked:
        State.pending = True
        return
    raise KeyboardInterrupt


def unmask():
    State.masked -= 1
    if State.pending and not State.masked:
        State.pending = False
        if State.busy:
            raise KeyboardInterrupt


def send(kind, payload=b''):
    """One event; whole, whatever interrupts."""
    if os_getpid() != home:
        return
    data = len(payload).to_bytes(4, 'little') + kind + payload
    if State.held is not None:
        # The last events of a cell go out with the one that says so.
        if kind != b'z':
            State.held += data
            return
        data = State.held + data
        State.held = None
    data = memoryview(data)
    ours = get_ident() == main_thread
    if ours:
        State.masked += 1
    try:
        with event_lock:
            while data:
                data = data[os_write(EVENTS, data):]
    except OSError as e:
        if e.errno in (errno.EPIPE, errno.EBADF):
            os_exit(1)
        raise
    finally:
        if ours:
            unmask()


def send_json(kind, text):
    send(kind, text.encode('utf-8', 'backslashreplace'))


def result(fmt, value, metadata=None):
    """One result frame; value is JSON already when fmt is json or chart."""
    if fmt not in ('json', 'chart'):
        value = quoted(value)
    try:
        meta = dumps(metadata) if metadata else '{}'
    except (TypeError, ValueError):
        meta = '{}'
    if len(value) > PAYLOAD_MAX or len(meta) > TEXT_MAX:
        fmt, meta = 'text', '{}'
        value = quoted('<a result of %d bytes is too long to be sent>'
                       % len(value))
    send_json(b'd', '{"%s":%s,"metadata":%s}' % (fmt, value, meta))


# ---- Output ---------------------------------------------------------------

class Stream(io.TextIOWrapper):
    """Lines go out at once, a part of a line a little later."""

    def __init__(self, fd, name, errors):
        raw = io.FileIO(fd, 'w', closefd=False)
        super().__init__(io.BufferedWriter(raw, 65536), encoding='utf-8',
                         errors=errors, newline='\n', line_buffering=True)
        self.mode = 'w'
        self._name = name
        self._later = False

    @property
    def name(self):
        return self._name

    def write(self, text):
        n = super().write(text)
        if not self._later and text and '\n' not in text:
            self._later = True
            try:
                _thread.start_new_thread(self._flush_later, ())
            except RuntimeError:
                self._later = False
                self.flush()
        return n

    def _flush_later(self):
        sleep(FLUSH_LATER)
        self._later = False
        try:
            self.flush()
        except (OSError, ValueError):
            pass


from time import sleep                                          # noqa: E402

builtin_print = print
out = Stream(1, '<stdout>', 'surrogateescape')
err = Stream(2, '<stderr>', 'backslashreplace')


# One write for a line, not one for its text and one for its end.
def print(*args, sep=' ', end='\n', file=None, flush=False):
    if file is None and sys.stdout is out \
            and (sep is None or type(sep) is str) \
            and (end is None or type(end) is str):
        sep = ' ' if sep is None else sep
        end = '\n' if end is None else end
        out.write(sep.join([str(a) for a in args]) + end)
        if flush:
            out.flush()
    else:
        builtin_print(*args, sep=sep, end=end, file=file, flush=flush)


print.__module__ = 'builtins'
print.__doc__ = builtin_print.__doc__
builtins.print = print


def flush():
    for stream in (sys.stdout, sys.stderr, out, err):
        try:
            stream.flush()
        except Exception:
            pass


def standard_streams():
    """What a cell closed or lost is there again."""
    global out, err
    for fd, kept, stream, was in ((1, kept_out, out, same_out),
                                  (2, kept_err, err, same_err)):
        try:
            now = fstat(fd)
            if now.st_ino != was.st_ino or now.st_dev != was.st_dev:
                raise OSError
        except OSError:
            # What couldn't be written then isn't written now.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, fd)
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
            os.dup2(kept, fd)
            if null != fd:
                os.close(null)
    if out.closed:
        if sys.stdout is out:
            sys.stdout = None
        out = Stream(1, '<stdout>', 'surrogateescape')
    if err.closed:
        if sys.stderr is err:
            sys.stderr = None
        err = Stream(2, '<stderr>', 'backslashreplace')
    if getattr(sys.stdout, 'closed', True):
        sys.stdout = sys.__stdout__ = out
    if getattr(sys.stderr, 'closed', True):
        sys.stderr = sys.__stderr__ = err
    if getattr(sys.stdin, 'closed', True):
        sys.stdin = sys.__stdin__ = open(os.devnull)


# ---- Errors ---------------------------------------------------------------

def report(exc):
    """The error event of what a cell raised."""
    try:
        value = str(exc)
    except BaseException:
        value = '<the error has no text>'
    try:
        tb = exc.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename == FILE:
            tb = tb.tb_next
        exc.__traceback__ = tb
        end = None
        while tb is not None:
            if tb.tb_frame.f_code.co_filename != FILE:
                end = tb
            tb = tb.tb_next
        if end is not None:
            end.tb_next = None
        tb = exc.__traceback__
        lines = ''.join(traceback.format_exception(type(exc), exc, tb)) \
            .rstrip('\n').split('\n')
    except BaseException:
        lines = ['%s: %s' % (type(exc).__name__, value)]
    if len(lines) > 400:
        lines[200:-200] = ['...']
    lines = [line[:4000] for line in lines]
    value = value[:64 * 1024]
    name = type(exc).__name__
    send_json(b'e', dumps({'ename': name, 'evalue': value,
                           'traceback': lines, 'name': name,
                           'message': value, 'value': value}))


# ---- Results --------------------------------------------------------------

def rich():
    """The rest of this file, when it is needed."""
    global rich_part
    if rich_part is None:
        rich_part = {'__name__': 'executor_rich', 'result': result,
                     'dumps': dumps, 'TEXT_MAX': TEXT_MAX, 'flush': flush}
        exec(compile(RICH, FILE, 'exec'), rich_part)            # noqa: F821
    return rich_part


def cut(text):
    if len(text) > TEXT_MAX:
        text = text[:TEXT_MAX] + '... (%d characters)' % len(text)
    return text


def show(value, last=False):
    """The frames of a value: of display(), and of a cell's last line."""
    if type(value) in (int, float, bool, str, complex, bytes) \
            or value is None:
        result('text', cut(repr(value)))
    elif isinstance(value, (dict, list)):
        try:
            text = dumps(value)
        except (TypeError, ValueError, RecursionError):
            result('text', cut(repr(value)))
        else:
            result('json', text)
    else:
        rich()['show'](value, last)


def display(*values, **options):
    """Shows values as results of the cell, in the order of the calls."""
    flush()
    if os_getpid() != home:
        print(*values)
    elif options:
        rich()['display'](*values, **options)
    else:
        for value in values:
            show(value)


def figures():
    """The figures of matplotlib that are open, then closed."""
    if 'matplotlib._pylab_helpers' in sys.modules:
        rich()['figures']()


class Finder:
    """Makes IPython's display() ours, and stands in for it."""

    patched = ('IPython.core.display_functions', 'IPython.core.display',
               'IPython.core.displaypub')

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in cls.patched:
            return rich()['patched_spec'](name, path, display)
        return None


class LastFinder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in ('IPython', 'IPython.display', 'IPython.core',
                    'IPython.core.display'):
            return rich()['stand_in'](name, display)
        return None


# ---- Cells ----------------------------------------------------------------

FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
CO_COROUTINE = 0x80


def parse(code, name):
    tree = compile(code, name, 'exec', FLAGS | ast.PyCF_ONLY_AST, True)
    return tree


def is_quiet(code, node):
    """Is a semicolon behind the last expression?"""
    lines = code.split('\n')[node.end_lineno - 1:]
    if not lines:
        return False
    lines[0] = lines[0].encode()[node.end_col_offset:].decode('utf-8',
                                                              'replace')
    return '\n'.join(lines).lstrip().startswith(';')


def evaluate(tree, name, mode):
    global loop
    code = compile(tree, name, mode, FLAGS, True)
    value = eval(code, main)
    if code.co_flags & CO_COROUTINE:
        import asyncio
        if loop is None or loop.is_closed():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        task = loop.create_task(value)
        try:
            value = loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                try:
                    loop.run_until_complete(task)
                except BaseException:
                    pass
            raise
    return value


def expression(code, name):
    """The code object of a short cell that is one expression."""
    if len(code) < 200 and '\n' not in code and '=' not in code:
        try:
            return compile(code, name, 'eval', FLAGS, True)
        except (SyntaxError, ValueError):
            pass
    return None


def cell(code, name):
    simple = expression(code, name)
    if simple is not None and not simple.co_flags & CO_COROUTINE:
        linecache.cache[name] = (len(code), None, [code], name)
        value = eval(simple, main)
        flush()
        return value
    try:
        tree = parse(code, name)
    except SyntaxError:
        if '!' not in code and '%' not in code:
            raise
        other = rich()['magics'](code)
        if other is None:
            raise
        main.setdefault('__magic__', rich()['magic'])
        code = other
        tree = parse(code, name)
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    last = None
    if tree.body and type(tree.body[-1]) is ast.Expr:
        last = tree.body.pop()
    value = None
    if tree.body:
        evaluate(tree, name, 'exec')
    if last is not None:
        value = evaluate(ast.Expression(last.value), name, 'eval')
        if value is not None and is_quiet(code, last):
            value = None
    flush()
    return value


def child(failed):
    """A fork of ours that came to its cell's end."""
    if failed is not None and type(failed) is not SystemExit:
        traceback.print_exception(type(failed), failed, failed.__traceback__)
    flush()
    code = getattr(failed, 'code', 1) if failed is not None else 0
    os_exit(code if type(code) is int else 0 if code is None else 1)


def execute(request):
    code, name = request['code'], '<cell %d>' % request['count']
    env = request.get('env') or {}
    old = {k: os.environ.get(k) for k in env}
    failed = None
    State.pending = False
    State.held = None
    if getsignal(2) is not on_sigint:
        signal.signal(signal.SIGINT, on_sigint)
    standard_streams()
    try:
        try:
            State.busy = True
            set_env(env)
            try:
                value = cell(code, name)
            except BaseException as e:
                if os_getpid() != home:
                    child(e)
                failed = e
                figures()
            else:
                if os_getpid() != home:
                    child(None)
                figures()
                if value is not None:
                    builtins._ = value
                    State.held = b''
                    show(value, True)
        finally:
            State.busy = False
    except BaseException as e:
        State.busy = False
        if os_getpid() != home:
            child(e)
        failed = failed or e
    if sys.getrecursionlimit() < 200:
        sys.setrecursionlimit(1000)
    set_env(old)
    flush()
    State.held = State.held or b''
    if failed is not None:
        report(failed)
        failed.__traceback__ = None
    flush()


# ---- The agent ------------------------------------------------------------

received = [b'']


def await_request():
    """The length of a request that is there.  What a cell left behind, an
    alarm, may raise here: what is read goes to the list in one step."""
    while True:
        have = b''.join(received)
        received[:] = [have]
        n = 4
        if len(have) >= 4:
            n += int.from_bytes(have[:4], 'little')
            if len(have) >= n:
                return n
        received.extend(map(os_read, (REQUESTS,),
                            (max(65536, n - len(have)),)))
        if not received[-1]:
            os_exit(0)


def set_env(env):
    for k, v in (env or {}).items():
        if v is None:
            os.environ.pop(k, None)
        else:
            os.environ[k] = v


def configure(request):
    problem = b''
    try:
        os.chdir(request['cwd'])
    except OSError as e:
        problem = (e.strerror or 'failed').encode()
    set_env(request.get('env'))
    send(b'c', problem)


def reseed_openssl():
    """Its first generator, which the others look at."""
    if '_ssl' in sys.modules:
        sys.modules['_ssl'].RAND_add(os.urandom(48), 48.0)


def reseed():
    """Others go on from the same memory: what is drawn by chance from now on
    is not what they draw.  Returns why that can't be had, or nothing.  No cell
    has run, so most often there is nothing that has drawn."""
    ours = os.path.join(os.path.dirname(os.__file__), 'lib-dynload', '')
    modules = dict(sys.modules)
    for name, module in modules.items():
        file = getattr(module, '__file__', None) or ''
        if file.endswith('.so') and not file.startswith(ours):
            return '%s may have a random state of its own' % name
    if 'random' in modules:
        # Not only the one of its functions: tempfile has one, too.
        import gc
        for o in gc.get_objects():
            if issubclass(type(o), modules['random'].Random):
                o.seed()
    if 'uuid' in modules:
        modules['uuid']._node = modules['uuid']._last_timestamp = None
    if 'multiprocessing.process' in modules:
        modules['multiprocessing.process'].current_process().authkey = \
            os.urandom(32)
    reseed_openssl()
    return ''


def renew(request):
    """This process goes on in another machine.  Where cells have run, what
    they have seeded is theirs; nobody has a use for OpenSSL's state."""
    set_env(request['env'])
    problem = ''
    try:
        if request.get('used'):
            reseed_openssl()
        elif request['reseed']:
            problem = reseed()
    except Exception as e:
        problem = 'The interpreter has no chance of its own: %r' % e
    send(b'n', problem.encode('utf-8', 'backslashreplace')[:500])


def serve():
    while True:
        try:
            n = await_request()
        except BaseException as e:
            if isinstance(e, OSError) and e.errno is not None:
                os_exit(1)
            continue
        have = received[0]
        received[0] = have[n:]
        request = loads(have[4:n])
        have = None
        if request['op'] == 'open':
            configure(request)
        elif request['op'] == 'renew':
            renew(request)
        elif request['op'] == 'sync':
            send(b'z', b'%d' % request['id'])
        else:
            try:
                execute(request)
            except BaseException as e:
                # Nothing of a cell may end what runs cells.
                State.busy = False
                if os_getpid() != home:
                    os_exit(1)
                try:
                    report(e)
                except BaseException:
                    pass
            send(b'z', b'%d' % request['id'])


def warm_up():
    """The first cell of a context shouldn't be the first of its process."""
    parse('a = [1]\na', '<warm>')
    expression('1 + 1', '<warm>')
    loads('{"a":1}')
    quoted(dumps({}))
    repr(1)


def start():
    global kept_out, kept_err, same_out, same_err
    import warnings
    for fd in SPARE:
        try:
            os.close(fd)
        except OSError:
            pass
    os.set_inheritable(REQUESTS, False)
    os.set_inheritable(EVENTS, False)
    kept_out, kept_err = os.dup(1), os.dup(2)
    same_out, same_err = os.fstat(1), os.fstat(2)
    sys.stdout = sys.__stdout__ = out
    sys.stderr = sys.__stderr__ = err
    sys.argv[:] = ['']
    signal.signal(signal.SIGINT, on_sigint)
    os.register_at_fork(after_in_child=lambda: setattr(out, '_later', False))
    os.environ.setdefault('MPLBACKEND', 'agg')
    warnings.filterwarnings('ignore',
                            message=r'(?:FigureCanvasAgg is non-interactive'
                            r'|Matplotlib is currently using agg)')
    builtins.display = display
    sys.meta_path.insert(0, Finder)
    sys.meta_path.append(LastFinder)
    main.pop('s', None)             # of the command line
    warm_up()
    send(b'r')
    serve()


start()
