#!/usr/bin/perl

# Another program changes the rules of sandboxes' networks, as a reload of
# Debian's nftables.service does, which begins with a flush of all there are: they
# are made anew at once, and where they can't be nobody keeps a network.  In the
# world of decoys of t/network.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Handle;
use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use NetWorld;
use System;

BEGIN { NetWorld->enter }

alarm_after(240);

my $w = NetWorld->new;
my ($PUBLIC, $OTHER, $PRIVATE, $HOST) = @$w{qw(public other private host)};
my $s = System->start(workers => 1, daemon_args => ['--network-pool',
    '100.64.9.0/24', '--network-private', '10.9.8.0/24']);

# What was said so far, less what connections change in it.
sub rules {
    my (undef, $out) = run_command(['nft', 'list', 'table', 'inet',
        'sandboxd']);

    $out =~ s/^\tset connections \{.*?^\t\}//ms;

    return $out;
}

sub made_anew {
    return scalar(() = slurp($s->{daemon_log}) =~ /they were made anew/g);
}

sub reached {
    my ($id) = @_;
    my %targets = (public => "$PUBLIC:80", other => "$OTHER:80",
        private => "$PRIVATE:80", host => "$HOST:8099",
        gateway => '100.64.9.1:8099');
    my $out = $s->exec($id, join("\n", map { "(curl -s -m 4 -o /dev/null"
        . " http://$targets{$_}/ && echo $_) &" } sort keys %targets)
        . "\nwait")->{stdout} // '';

    return join ' ', sort split ' ', $out;
}

sub create {
    my ($id, $network) = @_;

    $s->api(POST => '/v1/sandbox', json => { id => $id, network => $network });
    $s->exec($id, 'true');
}

create('on', { outbound => 'on' });
create('list', { outbound => { allow => [$OTHER, '10.9.8.7'] },
    bandwidth => '1M' });
create('none', { outbound => 'none' });
is(reached('on'), 'other public', 'on');
is(reached('list'), 'other private', 'an allow-list');

my $rules = rules();

like($rules, qr/sources.*sbx/s, 'there are rules');

for my $change ('flush ruleset', 'delete table inet sandboxd',
    'flush table inet sandboxd', 'flush chain inet sandboxd refuse',
    'insert rule inet sandboxd input accept',
    'flush set inet sandboxd never', 'flush set inet sandboxd sources')
{
    my $before = made_anew();

    $w->sh("nft $change");
    ok(wait_for(sub { made_anew() > $before }, 30, 0.02), "$change: is seen")
        or diag slurp($s->{daemon_log});
    is(rules(), $rules, '... and undone, to the letter');
    is(reached('on'), 'other public', '... what was allowed is');
}

is(reached('list'), 'other private', 'also in an allow-list');
is(reached('none'), '', 'and nobody has more');

# What is nobody's business.
my $before = made_anew();

$w->sh('nft add table inet other; nft add table ip sandboxd;'
    . ' nft add chain ip sandboxd c; nft delete table ip sandboxd;'
    . ' nft delete table inet other');
$s->api(PATCH => '/v1/sandbox/list', json => { network =>
    { outbound => 'on' } });
create('late', { outbound => 'on' });
$s->api(DELETE => '/v1/sandbox/late');
is(reached('list'), 'other public', 'a change of ours');
my $rules_now = rules();
is(made_anew(), $before, 'other tables, and what sandboxd does, are left alone');

# So much of others' that not all of it is told.
spew("$w->{dir}/many.nft", "add table inet other\nadd set inet other s"
    . " { type ipv4_addr; }\nadd element inet other s { "
    . join(',', map { sprintf '10.%d.%d.1', $_ >> 8, $_ & 255 } 0 .. 60_000)
    . " }\ndelete table inet other\n");
$w->sh("nft -f $w->{dir}/many.nft");
is(rules(), $rules_now, 'nor does a flood of others\' do anything');
is(made_anew(), $before, '... or is it taken for more');

# Nor is it the end of looking when all of it comes at once.
kill 'STOP', $s->{daemon};
$w->sh("nft -f $w->{dir}/many.nft");
kill 'CONT', $s->{daemon};
$w->sh('nft flush ruleset');
ok(wait_for(sub { rules() eq $rules_now }, 30, 0.1),
    'a flush after that is undone');
$before = made_anew();

# In a burst, beside changes of ours.
for my $i (1..5) {
    $w->sh('nft flush ruleset');
    is($s->api(PATCH => '/v1/sandbox/list', json => { network => { outbound =>
        $i % 2 ? { allow => [$OTHER] } : 'on' } })->{status}, 200,
        "changed while the rules are gone ($i)");
    $w->sh('nft flush ruleset');
    is($s->api(DELETE => '/v1/sandbox/on')->{status}, 204, '... destroyed');
    create('on', { outbound => 'on' });
}
ok(wait_for(sub { made_anew() > $before
    && join(' ', reached('on'), reached('list')) eq 'other public other' },
    30, 0.1), 'and all is well in the end')
    or diag rules(), slurp($s->{daemon_log});

# Somebody has the table for himself: nobody keeps a network without rules.
pipe my $out, my $in or die $!;
$in->autoflush(1);

my $owner = fork // die $!;

if ($owner == 0) {
    close $in;
    open STDIN, '<&', $out;
    exec 'nft', '-i' or die $!;
}

close $out;
print $in "delete table inet sandboxd; add table inet sandboxd"
    . " { flags owner; }\n";
ok(wait_for(sub { slurp($s->{daemon_log}) =~ /can't be made anew/ }, 30, 0.02),
    'rules that can\'t be made anew');
ok(wait_for(sub { `ip -o link` !~ /sbx/ }, 30, 0.02),
    'no link is left') or diag `ip -o link`;
is(reached('on'), '', 'nothing is reached');

my $r = $s->api(PATCH => '/v1/sandbox/on', json => { network =>
    { outbound => { allow => [$PUBLIC] } } });

is($r->{status}, 503, 'nor can it be had') or diag $r->{body};
like($r->{body}, qr/nftables/, '... which is said');

close $in;
waitpid $owner, 0;
is($s->api(PATCH => '/v1/sandbox/on', json => { network =>
    { outbound => 'on' } })->{status}, 200, 'until the table is free');
is(reached('on'), 'other public', '... when it is as before');

$s->stop;
is(`nft list ruleset`, '', 'nothing stays');
$w->end;
done_testing();
