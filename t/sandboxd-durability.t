# What sandboxd has acknowledged is there after kill -9, at any moment, under
# load; and a worker that comes back hears all of what it missed.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use WorkerClient;

alarm_after(300);

my $rounds = $ENV{SANDBOX_KILLS} || 25;
my $d = daemon_start(dir => tmp_dir(), args => ['--log-level', 'info']);
my (%sure, %maybe, %zone, @problems);
my ($zone_id, $zone_seq, $incarnation) = (random_hex(16), 0, '');
my ($n, $changes, $resyncs) = (0, 0, 0);

srand 4711;

# What a worker does with records: the newer number wins.
sub take {
    for my $r (@_) {
        my $name = "$r->{kind} " . ($r->{label} // $r->{id});

        $zone{$name} = $r
            if !$zone{$name} || $zone{$name}{seq} < $r->{seq};
    }
}

sub connect_and_sync {
    my $w = worker($d, zone => $zone_id, seq => $zone_seq,
        incarnation => $incarnation) or die 'no connection';
    my $from = $zone_seq;
    my $full = $incarnation ne $w->{hello}{incarnation};

    $incarnation = $w->{hello}{incarnation};

    while (1) {
        if ($full) { %zone = () if !$from; }

        my $page = $w->call('sync', from => $from,
            full => $full ? JSON::PP::true : JSON::PP::false);

        if ($page->{code} && $page->{code} eq 'resync') {
            ($from, $full) = (0, 1);
            $resyncs++;
            next;
        }
        take(@{ $page->{records} });
        $from = $page->{next} // last;
    }

    take(map { $_->{record} } @{ $w->{events} });
    $w->{events} = [];

    return $w;
}

# Compares the zone, the daemon and what was acknowledged.
sub compare {
    my ($round, $w) = @_;
    my $truth = worker($d)->sync_all;
    my %there = map { /^. (.*)/ ? ($1 => 1) : () } keys %$truth;
    my %shown = map { $zone{$_}{gone} ? () : (/^\S+ (.*)/, 1) } keys %zone;

    for my $name (keys %sure) {
        next if $maybe{$name};
        push @problems, "round $round: $name is lost"
            if $sure{$name} && !$there{$name};
        push @problems, "round $round: $name is back"
            if !$sure{$name} && $there{$name};
    }
    for my $name (keys %there, keys %shown) {
        push @problems, "round $round: the zone is wrong about $name"
            if !$there{$name} != !$shown{$name};
    }
    for my $name (keys %maybe) {
        $sure{$name} = $there{$name} ? 1 : 0;
    }
    for my $name (keys %there) {
        $sure{$name} = 1;
    }
    %maybe = ();
}

for my $round (1 .. $rounds) {
    my $w = connect_and_sync();

    compare($round, $w);

    my $end = time() + 0.05 + rand 0.25;
    my %open;

    # Up to 16 operations are open at a time; each tells what it will change.
    while (time() < $end) {
        while (keys %open < 16) {
            my $what = rand;
            my @live = grep { $sure{$_} && !$maybe{$_} && !/-/ } keys %sure;
            my $id = $live[rand @live];
            my @change;

            if ($what < 0.5 || !$id) {
                my $new = 's' . ++$n;

                @change = ($w->ask('create', options => { id => $new }),
                    $new => 1);

            } elsif ($what < 0.75) {
                my $port = 8000 + int rand 10;
                my $label = "$port-$id";

                next if $maybe{$label};
                @change = ($w->ask('expose', sandbox => $id, options =>
                    { port => $port, access => 'public' }), $label => 1);

            } elsif ($what < 0.9) {
                my ($label) = grep { /-$id$/ && $sure{$_} && !$maybe{$_} }
                    keys %sure;

                next unless $label;
                @change = ($w->ask('unexpose', sandbox => $id,
                    port => 0 + ($label =~ /^(\d+)/)[0]), $label => 0);

            } else {
                @change = ($w->ask('destroy', sandbox => $id), $id => 0,
                    map { $_ => 0 } grep { /-$id$/ && ($sure{$_}
                        || $maybe{$_}) } keys %sure, keys %maybe);
            }

            my $ask = shift @change;

            $open{$ask} = { @change };
            $maybe{$_}++ for keys %{ $open{$ask} };
        }

        $w->step(0.01);
        for my $id (grep { $w->{answers}{$_} } keys %open) {
            my $answer = delete $w->{answers}{$id};
            my $change = delete $open{$id};

            for my $name (keys %$change) {
                $sure{$name} = $change->{$name} if $answer->{ok};
                delete $maybe{$name} unless --$maybe{$name};
            }
            $changes++ if $answer->{ok};
        }
    }

    # Now and then it is told to end instead, with as much open.
    if ($round % 5) {
        daemon_kill($d);
    } else {
        my $status = daemon_stop($d);

        push @problems, "round $round: SIGTERM under load: $status" if $status;
    }

    # What arrived before the end still counts.
    $w->drain(0.2);
    for my $id (grep { $w->{answers}{$_} && $w->{answers}{$_}{ok} }
        keys %open)
    {
        my $change = delete $open{$id};

        for my $name (keys %$change) {
            $sure{$name} = $change->{$name};
            delete $maybe{$name} unless --$maybe{$name};
        }
        $changes++;
    }
    take(map { $_->{record} } @{ $w->{events} });
    $zone_seq = $w->{seq} if $w->{seq} > $zone_seq;

    $d = daemon_start(%$d);
}

compare('last', connect_and_sync());

is("@problems[0 .. ($#problems > 9 ? 9 : $#problems)]", '',
    "$changes acknowledged changes stand after $rounds kills");
ok($changes > $rounds * 10, 'there was load');
note "$resyncs full resyncs";

# ---- the file under the records

my ($status, $out) = run_command(['python3', '-c', <<'EOP', "$d->{dir}/state"]);
import sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '/sandboxd.db?mode=ro', uri=True)
print(db.execute('PRAGMA integrity_check').fetchone()[0])
print(db.execute('PRAGMA journal_mode').fetchone()[0])
EOP
is($out, "ok\nwal\n", 'the database is sound');
is(sprintf('%04o', (stat "$d->{dir}/state/sandboxd.db")[2] & 07077), '0000',
    'and nobody else can read it');
is(daemon_stop($d), 0, 'the end');

# ---- a file from a later version is left alone

run_command(['python3', '-c', <<'EOP', "$d->{dir}/state"]);
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + '/sandboxd.db')
db.execute('PRAGMA user_version = 99')
db.commit()
EOP
ok(!eval { daemon_start(%$d) }, 'a later schema is refused');
like($@, qr/schema version 99, this program knows /, 'with the reason');

done_testing();
