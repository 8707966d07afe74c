#!/usr/bin/perl

# Debian's unit, and what the documents add to it: systemd reads all of it, and
# understands what it is to give.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Harness;
use Test::More;

plan skip_all => 'no systemd-analyze (scripts/deps.sh test)'
    if !-x '/usr/bin/systemd-analyze';
alarm_after(60);

my $unit = slurp(top_dir() . '/debian/sandboxd.service');

# The unit with these files of sandboxd.service.d.  Its programs aren't
# installed here.
sub analyze {
    my ($more, @command) = @_;
    my $dir = tmp_dir();

    spew("$dir/sandboxd.service", $unit =~ s{/usr/sbin/sandboxd}{/bin/true}gr);
    mkdir "$dir/sandboxd.service.d";
    spew("$dir/sandboxd.service.d/$_", $more->{$_}) for keys %$more;

    return run_command(['systemd-analyze', @command, "$dir/sandboxd.service"],
        timeout => 30, env => { LC_ALL => 'C.UTF-8' });
}

sub capabilities {
    my ($status, $out) = analyze($_[0], 'security', '--offline=yes',
        '--no-pager', '--json=short');

    return { map { $_->{name} =~ /^CapabilityBoundingSet=~(\S+)/
        ? map({ $_ => 1 } split /\|/, $1) : () }
        grep { !$_->{set} } @{ json_decode($out) } };
}

my ($status, $out, $err) = analyze({}, 'verify', '--man=no');
is("$status $out$err", '0 ', 'the unit is understood');
($status, $out, $err) = analyze({ 'x.conf' => "[Service]\nNonsense=1\n" },
    'verify', '--man=no');
like($err, qr/Nonsense/, 'what is not, is told');

my $own = capabilities({});
ok($own->{CAP_SYS_ADMIN}, 'it may mount')
    or diag(join ' ', sort keys %$own);
ok(!$own->{CAP_NET_ADMIN}, '... and make no networks');

my %found;
for my $doc (qw(operations microvm)) {
    my $text = slurp(top_dir() . "/docs/$doc.md");

    while ($text =~ m{printf '([^']+)' \\\n\s+>/etc/systemd/system/sandboxd\.service\.d/(\S+)}g) {
        my ($conf, $name) = ($1, $2);

        $found{$name}++;
        $conf =~ s/\\n/\n/g;
        ($status, $out, $err) = analyze({ $name => $conf }, 'verify',
            '--man=no');
        is("$status $out$err", '0 ', "with $name of $doc.md too");
        my $all = capabilities({ $name => $conf });
        ok($all->{CAP_NET_ADMIN}, '... which lets it make networks')
            or diag(join ' ', sort keys %$all);
        is(join(' ', grep { !$all->{$_} } sort keys %$own), '',
            '... and takes nothing away');
    }
}
is(join(' ', sort keys %found), 'machines.conf network.conf qemu.conf',
    'all that there are');

done_testing();
