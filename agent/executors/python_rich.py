# What the Python executor needs for rich results: objects that know how to
# show themselves, figures of matplotlib with their data, IPython's display(),
# a stand-in for where IPython isn't installed, and the simple magics.

import base64
import importlib.abc
import importlib.machinery
import math
import os
import sys
import types

POINTS_MAX = 20000                  # of one chart
FORMATS = (('png', '_repr_png_'), ('jpeg', '_repr_jpeg_'),
           ('svg', '_repr_svg_'), ('html', '_repr_html_'),
           ('json', '_repr_json_'), ('latex', '_repr_latex_'),
           ('markdown', '_repr_markdown_'),
           ('javascript', '_repr_javascript_'))
MIME = {'image/png': 'png', 'image/jpeg': 'jpeg', 'image/svg+xml': 'svg',
        'text/html': 'html', 'application/json': 'json',
        'text/latex': 'latex', 'text/markdown': 'markdown',
        'application/javascript': 'javascript', 'text/plain': 'text'}


# ---- Objects --------------------------------------------------------------

def is_frame(value):
    t = type(value)
    return t.__name__ == 'DataFrame' and t.__module__.startswith('pandas')


def method(value, name):
    """A method that the object's class really has."""
    if isinstance(value, type):
        return None
    if getattr(type(value), name, None) is None \
            and name not in getattr(value, '__dict__', ()):
        return None
    m = getattr(value, name, None)
    return m if callable(m) else None


def emit(fmt, data, metadata=None):
    if fmt in ('png', 'jpeg'):
        if isinstance(data, (bytes, bytearray)):
            data = base64.b64encode(data).decode()
        data = ''.join(str(data).split())
    elif fmt == 'json':
        if isinstance(data, str):
            return result('json', dumps(data), metadata)
        try:
            data = dumps(data)
        except (TypeError, ValueError, RecursionError):
            return result('text', repr(data)[:TEXT_MAX], metadata)
    else:
        data = data if isinstance(data, str) else str(data)
    return result(fmt, data, metadata)


def bundle(data, metadata, text):
    """A mimebundle; with text also its plain text. Were there any frames?"""
    metadata = metadata or {}
    known = {}
    for mime, value in data.items():
        if mime in MIME and value is not None:
            known[MIME[mime]] = (value, metadata.get(mime))
    any_ = False
    for fmt, _ in FORMATS:
        if fmt in known:
            emit(fmt, *known[fmt])
            any_ = True
    if 'text' in known and (text or not any_):
        emit('text', *known['text'])
        any_ = True
    return any_


def plain(value):
    text = repr(value)
    if len(text) > TEXT_MAX:
        text = text[:TEXT_MAX] + '... (%d characters)' % len(text)
    result('text', text)


def show(value, last=False):
    m = method(value, '_ipython_display_')
    if m is not None:
        try:
            m()
            return
        except NotImplementedError:
            pass
    m = method(value, '_repr_mimebundle_')
    if m is not None:
        try:
            got = m(include=None, exclude=None)
        except TypeError:
            got = m()
        data, metadata = got if isinstance(got, tuple) else (got, None)
        if data and bundle(data, metadata, is_frame(value)):
            return
    if is_figure(value):
        if last and any(value is f for f in shown):
            return
        figure(value)
        return
    any_ = False
    for fmt, name in FORMATS:
        m = method(value, name)
        if m is None:
            continue
        try:
            got = m()
        except NotImplementedError:
            continue
        if got is None:
            continue
        data, metadata = got if isinstance(got, tuple) and len(got) == 2 \
            else (got, None)
        emit(fmt, data, metadata)
        any_ = True
    if not any_ or is_frame(value):
        plain(value)


def display(*values, raw=False, metadata=None, **options):
    for value in values:
        if raw and isinstance(value, dict):
            bundle(value, metadata, False)
        else:
            show_any(value)


def show_any(value):
    # By way of the executor's own show(), which knows the simple types.
    __import__('builtins').display(value)


# ---- matplotlib -----------------------------------------------------------

shown = []                          # figures of the current capture


def is_figure(value):
    m = sys.modules.get('matplotlib.figure')
    return m is not None and isinstance(value, m.Figure)


def figure(fig):
    import io
    b = io.BytesIO()
    fig.savefig(b, format='png', bbox_inches='tight')
    emit('png', b.getvalue())
    try:
        c = chart(fig)
        text = dumps(c) if c is not None else None
    except Exception:
        text = None
    if text is not None:
        result('chart', text)


def figures():
    del shown[:]
    gcf = sys.modules['matplotlib._pylab_helpers'].Gcf
    try:
        for manager in gcf.get_all_fig_managers():
            fig = manager.canvas.figure
            if fig.axes or fig.artists or fig.texts or fig.images \
                    or fig.lines or fig.patches:
                shown.append(fig)
                figure(fig)
    finally:
        gcf.destroy_all()


def number(v):
    """As JSON has it: no NaN, dates as text."""
    if v is None or isinstance(v, (str, bool)):
        return v
    if hasattr(v, 'item'):
        try:
            v = v.item()
        except (TypeError, ValueError):
            return str(v)
    if isinstance(v, int):
        return v
    if isinstance(v, float):
        if not math.isfinite(v):
            return None
        return int(v) if v.is_integer() and abs(v) < 1e15 else v
    if hasattr(v, 'isoformat'):
        return v.isoformat()
    return str(v)


def numbers(values):
    try:
        values = values.tolist()
    except AttributeError:
        values = list(values)
    return [number(v) for v in values]


def label_of(artist):
    label = artist.get_label()
    return None if not isinstance(label, str) or label.startswith('_') \
        else label


def series(label, **data):
    s = {} if label is None else {'label': label}
    s.update(data)
    return s


def ticks(axis):
    """What stands at the ticks, where a position has a text of its own."""
    formatter = type(axis.get_major_formatter()).__name__
    if formatter not in ('StrCategoryFormatter', 'FixedFormatter',
                         'FuncFormatter'):
        return {}
    return {number(p): t.get_text()
            for p, t in zip(axis.get_ticklocs(), axis.get_ticklabels())
            if t.get_text()}


def is_histogram(bars):
    """Bars that touch one another, each as wide as the distance."""
    if len(bars) < 3:
        return False
    for a, b in zip(bars, bars[1:]):
        gap = b.get_x() - (a.get_x() + a.get_width())
        if abs(gap) > abs(a.get_width()) * 1e-6:
            return False
    return True


def bars_of(container, ax):
    bars = [p for p in container.patches]
    label = label_of(container)
    if getattr(container, 'orientation', 'vertical') == 'horizontal':
        names = ticks(ax.yaxis)
        at = [number(p.get_y() + p.get_height() / 2) for p in bars]
        return 'bar', series(label, orientation='horizontal',
                             x=[names.get(a, a) for a in at],
                             y=[number(p.get_width()) for p in bars])
    if is_histogram(bars):
        edges = [number(p.get_x()) for p in bars]
        edges.append(number(bars[-1].get_x() + bars[-1].get_width()))
        return 'histogram', series(label, bins=edges,
                                   counts=[number(p.get_height())
                                           for p in bars])
    names = ticks(ax.xaxis)
    at = [number(p.get_x() + p.get_width() / 2) for p in bars]
    return 'bar', series(label, x=[names.get(a, a) for a in at],
                         y=[number(p.get_height()) for p in bars])


def pie_of(ax):
    from matplotlib.patches import Wedge
    wedges = [p for p in ax.patches if isinstance(p, Wedge)]
    if not wedges:
        return None
    texts = [t.get_text() for t in ax.texts]
    values = [(w.theta2 - w.theta1) / 360 for w in wedges]
    labels = [label_of(w) for w in wedges]
    if not any(labels):
        labels = texts[:len(wedges)]
    return [{'label': l, 'value': number(round(v, 10))}
            for l, v in zip(labels + [None] * len(values), values)]


def axes_data(ax):
    """The kind of an axes' plot, and its data."""
    from matplotlib.collections import PathCollection, QuadMesh
    from matplotlib.container import BarContainer

    pie = pie_of(ax)
    if pie is not None:
        return 'pie', pie
    bars = [c for c in ax.containers if isinstance(c, BarContainer)]
    if bars:
        got = [bars_of(c, ax) for c in bars]
        return got[0][0], [data for _, data in got]
    if ax.images:
        return 'heatmap', [series(label_of(i), z=[
            numbers(row) for row in i.get_array().tolist()])
            for i in ax.images if getattr(i.get_array(), 'ndim', 0) == 2]
    scatter = [c for c in ax.collections if isinstance(c, PathCollection)]
    lines = [l for l in ax.lines if len(l.get_xdata(orig=True))]
    if lines:
        return 'line', [series(label_of(l), x=numbers(l.get_xdata(orig=True)),
                               y=numbers(l.get_ydata(orig=True)))
                        for l in lines]
    if scatter:
        return 'scatter', [series(label_of(c),
                                  x=numbers(c.get_offsets()[:, 0]),
                                  y=numbers(c.get_offsets()[:, 1]))
                           for c in scatter]
    for c in ax.collections:
        if isinstance(c, QuadMesh):
            a = c.get_array()
            return 'heatmap', [series(label_of(c), z=numbers(a))]
    return 'unknown', []


def chart(fig):
    """The chart of a figure: of its first axes that has a known plot; data of
    the others go under their own titles in config."""
    best = None
    for ax in fig.axes:
        kind, data = axes_data(ax)
        if kind != 'unknown' and data:
            best = (ax, kind, data)
            break
    if best is None:
        return None
    ax, kind, data = best
    points = sum(len(v) for s in data for v in s.values()
                 if isinstance(v, list))
    if points > POINTS_MAX:
        return None
    title = ax.get_title()
    if not title and getattr(fig, '_suptitle', None) is not None:
        title = fig._suptitle.get_text()
    layout = {'xlabel': ax.get_xlabel(), 'ylabel': ax.get_ylabel(),
              'xscale': ax.get_xscale(), 'yscale': ax.get_yscale()}
    c = {'type': kind, 'data': data, 'layout': layout,
         'config': {'axes': len(fig.axes)}, 'library': 'matplotlib'}
    if title:
        c['title'] = title
    return c


# ---- IPython --------------------------------------------------------------

class Patching(importlib.abc.Loader):
    """Loads a module of IPython and puts our display() into it."""

    def __init__(self, loader, show_all):
        self.loader = loader
        self.show_all = show_all

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)

        def publish(data, metadata=None, *args, **kwargs):
            flush()
            bundle(data, metadata, False)

        for name, ours in (('display', self.show_all),
                           ('publish_display_data', publish),
                           ('clear_output', lambda wait=False: None)):
            if callable(getattr(module, name, None)):
                setattr(module, name, ours)


def patched_spec(name, path, show_all):
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is not None:
        spec.loader = Patching(spec.loader, show_all)
    return spec


class Shown:
    """One of IPython's display classes, where IPython isn't."""

    fmt = 'text'

    def __init__(self, data=None, url=None, filename=None, metadata=None,
                 **options):
        if filename is not None:
            with open(filename, 'rb') as f:
                data = f.read()
            if self.fmt not in ('png', 'jpeg'):
                data = data.decode()
        if hasattr(data, '__html__'):
            data = data.__html__()
        self.data, self.url, self.metadata = data, url, metadata or {}

    def __repr__(self):
        return '<IPython.core.display.%s object>' % type(self).__name__

    def _repr_mimebundle_(self, include=None, exclude=None):
        mime = {v: k for k, v in MIME.items()}[self.fmt]
        return {mime: self.data}, {mime: self.metadata}


def shown_class(name, fmt_):
    return type(name, (Shown,), {'fmt': fmt_, '__module__':
                                 'IPython.core.display'})


class Math(Shown):
    fmt = 'latex'

    def __init__(self, data=None, **options):
        super().__init__(r'$\displaystyle %s$' % str(data).strip('$'))


class Image(Shown):
    def __init__(self, data=None, url=None, filename=None, format=None,
                 **options):
        if isinstance(data, str) and filename is None \
                and not data.startswith('http'):
            data, filename = None, data
        super().__init__(data, url, filename)
        jpeg = isinstance(self.data, bytes) and self.data[:2] == b'\xff\xd8'
        self.fmt = 'jpeg' if jpeg or format in ('jpg', 'jpeg') else 'png'
        if self.data is None and (url or data):
            self.fmt = 'html'
            self.data = '<img src="%s"/>' % (url or data)


class StandIn(importlib.abc.Loader):
    def __init__(self, show_all):
        self.show_all = show_all

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__doc__ = 'IPython is not installed: only what displays is ' \
                         'here.'
        module.__path__ = []
        module.get_ipython = lambda: None
        if module.__name__ == 'IPython':
            return
        names = {'display': self.show_all, 'Math': Math, 'Image': Image,
                 'clear_output': lambda wait=False: None,
                 'DisplayObject': Shown}
        for name, fmt in (('HTML', 'html'), ('Markdown', 'markdown'),
                          ('SVG', 'svg'), ('Latex', 'latex'),
                          ('JSON', 'json'), ('Javascript', 'javascript'),
                          ('Pretty', 'text'), ('TextDisplayObject', 'text')):
            names[name] = shown_class(name, fmt)
        module.__dict__.update(names)


def stand_in(name, show_all):
    return importlib.machinery.ModuleSpec(name, StandIn(show_all),
                                          is_package=True)


# ---- Magics ---------------------------------------------------------------

IGNORED = ('matplotlib', 'load_ext', 'reload_ext', 'autoreload', 'config',
           'pylab', 'precision')


def magics(code):
    """The cell with `!cmd` and `%magic` lines as calls, or None."""
    lines = code.split('\n')
    found = False
    if lines and lines[0].startswith('%%'):
        name, _, rest = lines[0][2:].partition(' ')
        if name in ('bash', 'sh'):
            return '__magic__(%r, %r)' % ('!', '\n'.join(lines[1:]))
        if name in ('time', 'timeit', 'capture'):
            lines[0] = ''
            found = True
    for i, line in enumerate(lines):
        body = line.lstrip()
        indent = line[:len(line) - len(body)]
        if body.startswith('!'):
            lines[i] = indent + '__magic__(%r, %r)' % ('!', body[1:].strip())
            found = True
        elif body.startswith('%') and body[1:2].isalpha():
            name, _, rest = body[1:].partition(' ')
            lines[i] = indent + '__magic__(%r, %r)' % (name, rest.strip())
            found = True
        else:
            head, eq, tail = line.partition('=')
            if eq and head.strip().isidentifier() \
                    and tail.lstrip().startswith('!'):
                lines[i] = '%s= __magic__(%r, %r)' \
                    % (head, '=!', tail.lstrip()[1:])
                found = True
    return '\n'.join(lines) if found else None


def magic(name, rest):
    import subprocess
    flush()
    if name == '!':
        subprocess.run(['/bin/bash' if os.path.exists('/bin/bash')
                        else '/bin/sh', '-c', rest])
    elif name == '=!':
        return subprocess.run(rest, shell=True, stdout=subprocess.PIPE,
                              text=True).stdout.splitlines()
    elif name == 'pip':
        subprocess.run([sys.executable, '-m', 'pip'] + rest.split())
        importlib.invalidate_caches()
    elif name == 'cd':
        os.chdir(os.path.expanduser(rest or '~'))
    elif name == 'pwd':
        return os.getcwd()
    elif name == 'env':
        k, eq, v = rest.partition('=')
        if not eq:
            return os.environ.get(k)
        os.environ[k.strip()] = v.strip()
    elif name not in IGNORED:
        raise SyntaxError('there is no magic %%%s here' % name)
