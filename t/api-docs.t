#!/usr/bin/perl

# The examples of docs/api.md, typed as they stand, and what they promise.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(120);

my $s = System->start;
my $dir = tmp_dir();
my $text = slurp(top_dir() . '/docs/api.md');
my @examples = $text =~
    /<!-- run: (\S+) -->\n```sh\n(.*?)```\n<!-- expect: (.*?) -->/sg;

cmp_ok(@examples / 3, '>=', 12, 'there are examples');
is(() = $text =~ /<!-- run:/g, @examples / 3, 'each says what it expects');

while (my ($name, $code, $want) = splice @examples, 0, 3) {
    my ($status, $out, $err) = run_command(
        ['bash', '-ec', "set -o pipefail; $code"], cwd => $dir,
        env => { API => "http://127.0.0.1:$s->{port}", KEY => $s->{key} });

    is($status, 0, "$name: the commands succeed") or diag($err, $out);
    $out =~ s/\s+\z//;
    like($out, qr/$want/s, "$name: the answer is as described");
}

$s->stop;
done_testing();
