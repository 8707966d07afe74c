#!/usr/bin/perl

# docs/operations.md: every message of sandboxd and of the module at warn and
# above is explained, and nothing that isn't said any more; its examples run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(120);

my $top = top_dir();

# What comes behind a call up to the end of its statement.
sub statements {
    my ($text, $call) = @_;
    my @found;

    while ($text =~ /$call\s*(.*?)\)\s*;/sg) {
        push @found, $1;
    }

    return @found;
}

# The format among a call's arguments, with ... for what varies.
# Undefined if there is none, or if it is a failure of the system's in nginx's
# own words, such as open() "..." failed.
sub format_of {
    my ($arguments) = @_;

    return if $arguments =~ /ngx_\w+_n\s+"/;
    $arguments =~ /((?:"(?:[^"\\]|\\.)*"\s*)+)/s or return;

    my $text = join '', $1 =~ /"((?:[^"\\]|\\.)*)"/sg;
    $text =~ s/\\"/"/g;
    $text =~ s/%[-0-9.*]*(?:ll|[lzu])?[A-Za-z]/.../g;

    return $text =~ /[a-z]{3}/ ? $text : undef;
}

my (%said, $level);

for my $file (glob "$top/sandboxd/*.c $top/common/*.c") {
    $said{$_} = $file for grep { defined } map { format_of($_) }
        statements(slurp($file), qr/\blog_(?:warn|error)\(/);
}
for my $file (glob "$top/ngx_sandbox_module/*.c") {
    my $text = slurp($file);
    $level = qr/NGX_LOG_(?:WARN|ERR|CRIT|ALERT|EMERG),/;
    $said{$_} = $file for grep { defined } map { format_of($_) }
        statements($text, qr/\bngx_(?:conf_)?log_error\((?:$level|level,)/),
        statements($text, qr/\bngx_conf_log_error\(NGX_LOG_EMERG,/);
}

my $page = slurp("$top/docs/operations.md");
my %told = map { s/\s+/ /gr => 1 } $page =~ /^\| `` ?(.*?) ?`` \|/mg;

cmp_ok(scalar(keys %said), '>', 50, 'messages are found');
for my $format (sort keys %said) {
    ok($told{$format}, "explained: $format")
        or diag($said{$format} =~ s{^\Q$top\E/}{}r);
}
for my $format (sort keys %told) {
    ok($said{$format}, "still said: $format");
}

# ---- backing up, and restoring, as the page says ----------------------------

my $s = System->start;
my $backup = tmp_dir();
my %code = $page =~ /<!-- run: (\S+) -->\n```sh\n(.*?)```/sg;
my $run = sub {
    my ($name) = @_;
    my ($status, undef, $err) = run_command(['bash', '-ec', $code{$name}],
        env => { STATE => $s->{state}, BACKUP => $backup });

    is($status, 0, "$name runs") or diag($err);
};

is(join(' ', sort keys %code), 'backup-layers backup-records restore',
    'the examples');
is($s->api(PUT => '/v1/sandbox/kept/file/workspace/f', body => 'kept')
    ->{status}, 200, 'a sandbox with a file');
my $url = $s->api(POST => '/v1/sandbox/kept/ports',
    json => { port => 8000 })->{json}{url};
ok($url, 'and an exposed port');
# As the page says of their disks.
$s->api(POST => '/v1/sandbox/kept/sleep') if $s->machines;
$run->('backup-records');
$run->('backup-layers');

is($s->api(DELETE => '/v1/sandbox/kept')->{status}, 204, 'it is destroyed');
is($s->api(PUT => '/v1/sandbox/later/file/workspace/f', body => 'later')
    ->{status}, 200, 'and another one made');
$s->api(DELETE => '/v1/sandbox/later');
stop_process(delete $s->{daemon}, 'TERM', 40);
rename $s->{state}, "$s->{state}.lost" or die $!;

$run->('restore');
$s->start_daemon;
my $r;
ok(wait_for(sub { ($r = $s->api(GET => '/v1/sandbox/kept/file/workspace/f'))
    ->{status} == 200 }, 30), 'nginx knows it again') or diag($r->{body});
is($r->{body}, 'kept', 'with its file');
is(($s->api(GET => '/v1/sandbox/kept/ports')->{json}{ports} || [])->[0]{port},
    8000, 'and its port');
is($s->api(GET => '/v1/sandbox/later')->{status}, 404,
    'what came later is unknown');
run_command(['rm', '-rf', "$s->{state}.lost"]);
$s->stop;

done_testing();
