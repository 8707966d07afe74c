#!/usr/bin/perl

# What Python shows: pictures and charts of matplotlib, tables of pandas, the
# display classes of IPython, with and without IPython.

use strict;
use warnings;

use lib 't/lib';

use AgentClient;
use Harness;
use Interpreter;
use Test::More;

alarm_after(240);

my $i = Interpreter->start;
my $py = $i->context('python');


sub cell {
    my ($context, $code) = @_;
    my $r = $i->execute($context, $code, wait => 120);

    # Which it says when that takes long.
    return ($r, grep { !/^err Matplotlib is building the font cache/ }
            Interpreter->lines_of(@{ $r->{frames} }));
}

# What is in the sandbox decides what is shown.
SKIP: {
    my ($status) = run_command(['/usr/bin/python3', '-c',
                                'import matplotlib, pandas, IPython']);
    skip('Python has no matplotlib, pandas or IPython here', 1) if $status;

    my ($answer, @lines) = cell($py, <<'P');
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], [4, 5, 6], label='l'); plt.title('T'); plt.xlabel('X')
plt.show()
plt.figure(); plt.bar(['a', 'b'], [1, 2])
plt.figure(); plt.hist([1, 2, 2, 3, 3, 3], bins=3)
plt.figure(); plt.pie([1, 3], labels=['p', 'q'])
plt.figure(); plt.scatter([1, 2], [3, 4])
plt.figure(); plt.imshow([[1, 2], [3, 4]])
display('first')
'last'
P
    is(shift @lines, q{text 'first'}, 'what is displayed comes first');
    is(pop @lines, 'done 1', 'no warning') or diag(substr $answer->{body}, 0, 500);
    is(pop @lines, q{text 'last'}, 'the last expression last');
    is(scalar @lines, 12, 'between them six figures');
    is(scalar(grep { /^png iVBORw0KGgo/ } @lines), 6, 'each a picture');
    my @charts = map { json_decode(substr $_, 6) } grep { /^chart / } @lines;
    is(join(' ', map { $_->{type} } @charts),
       'line bar histogram pie scatter heatmap', 'and a chart');
    is_deeply($charts[0]{data}, [{ label => 'l', x => [1, 2, 3],
                                   y => [4, 5, 6] }], 'with its data: a line');
    is("$charts[0]{title} $charts[0]{layout}{xlabel} $charts[0]{library}",
       'T X matplotlib', 'its texts');
    is_deeply($charts[1]{data}, [{ x => ['a', 'b'], y => [1, 2] }], 'bars');
    is_deeply($charts[2]{data}[0]{counts}, [1, 2, 3], 'a histogram');
    is_deeply($charts[3]{data}, [{ label => 'p', value => 0.25 },
                                 { label => 'q', value => 0.75 }], 'a pie');
    is_deeply($charts[4]{data}, [{ x => [1, 2], y => [3, 4] }], 'points');
    is_deeply($charts[5]{data}, [{ z => [[1, 2], [3, 4]] }], 'a heat map');
    is((cell($py, 'len(plt.get_fignums())'))[1], 'text 0',
       'figures are closed');
    (undef, @lines) = cell($py, 'f = plt.figure(); ' .
                           'f.add_subplot().plot([1]); f');
    is(join(' ', map { (split)[0] } @lines), 'png chart done',
       'a figure that is the last expression is shown once');

    (undef, @lines) = cell($py, 'import pandas as pd; ' .
                           'pd.DataFrame({"a": [1, 2]})');
    like($lines[0], qr/^html <div>.*<table/s, 'a table as HTML');
    is($lines[1], "text    a\n0  1\n1  2", 'and as text');

    (undef, @lines) = cell($py, <<'P');
from IPython.display import (HTML, JSON, Markdown, SVG, Latex, Javascript,
                             Image, display)
display(HTML('<b>x</b>'))
display(JSON({'a': 1})); display(Markdown('# h')); display(Latex('$x$'))
display(SVG('<svg></svg>')); display(Javascript('1'))
display(Image(data=b'\x89PNG\r\n\x1a\n', format='png'))
HTML('<i>')
P
    is_deeply(\@lines, ['html <b>x</b>', 'json {"a":1}', 'markdown # h',
        'latex $x$', 'svg <svg/>', 'javascript 1', 'png iVBORw0KGgo=',
        'html <i>', 'done 5'], "IPython's ways") or diag(join "\n", @lines);
}

# Without IPython the same names work.
{
    my ($answer, @lines);

    my $plain = $i->context('python');
    (undef, @lines) = cell($plain, <<'P');
import sys
sys.path[:] = [p for p in sys.path if 'packages' not in p]
from IPython.display import HTML, Markdown, JSON, Math, Image, display
import IPython
display(HTML('<b>'), Markdown('m'), JSON([1]), Math('x^2'))
display({'text/html': 'raw'}, raw=True)
Image(b'\xff\xd8\xff')
P
    is_deeply(\@lines, ['html <b>', 'markdown m', 'json [1]',
        'latex $\displaystyle x^2$', 'html raw', 'jpeg /9j/', 'done 1'],
        'without IPython') or diag(join "\n", @lines);
}

is($i->agent->stop, 0, 'the agent ends in order');

done_testing();
