package NetWorld;

# A world of decoys in a network namespace, for tests that run in one of their
# own, with a mount namespace where /etc/hosts is theirs too: nothing leads out
# of it.
#
#   BEGIN { NetWorld->enter }       # runs this test again, inside
#   my $w = NetWorld->new;
#   $w->hosts("203.0.113.10 name.example.com\n");
#   $w->{public}                    # addresses; port 80 answers "world <from>",
#                                   # of the host 8099 "host <from>"
#   $w->end

use strict;
use warnings;

use Harness;
use Test::More ();
use Time::HiRes qw(sleep);

# This host, and who is there beside it.
my %ADDRESSES = (host => '203.0.113.1', public => '203.0.113.10',
    other => '203.0.113.99', named => '198.51.100.7', moved => '198.51.100.8',
    meta => '169.254.169.254', private => '10.9.8.7', lan => '192.168.77.1');

# Tells who has asked; /big sends a lot.
my $SERVER = <<'EOS';
use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(Listen => 64, LocalPort => $ARGV[0],
    ReuseAddr => 1) or die $@;
open my $f, '>', $ARGV[2]; close $f;
while (1) {
    my $c = $l->accept or next;
    next if fork;
    sysread $c, my $in, 4096;
    my $from = $c->peerhost;
    print $c "HTTP/1.0 200 OK\r\n\r\n$ARGV[1] $from\n",
        $in =~ m{/big} ? 'x' x 2_000_000 : '';
    exit;
}
EOS


sub enter {
    return if $ENV{SANDBOX_NETWORK_INSIDE};

    Test::More::plan(skip_all => 'needs root') if $> != 0;
    Test::More::plan(skip_all => 'no network namespaces, links or nftables')
        if system(q{unshare -n -m sh -c 'ip link add t0 type veth peer name t1}
            . q{ && nft add table inet t' >/dev/null 2>&1});

    $ENV{SANDBOX_NETWORK_INSIDE} = 1;
    exec 'unshare', '-n', '-m', '--propagation', 'private', $^X, $0;
}


sub sh {
    my ($self, $cmd) = @_;

    system('sh', '-ec', $cmd) == 0 or die "$cmd: $?";
}


sub new {
    my ($class) = @_;
    my $self = bless { %ADDRESSES, dir => tmp_dir() }, $class;
    my $world = $self->{world} = start_process(cmd => ['unshare', '-n', 'sh',
        '-c', "touch $self->{dir}/world; exec sleep 600"],
        log => "$self->{dir}/world.log");

    wait_for(sub { -e "$self->{dir}/world" }, 20) or die 'no namespace';
    my @in = $self->{in} = "nsenter -t $world -n";

    $self->sh("ip link set lo up
        ip link add wan0 type veth peer name wan1 netns $world
        ip addr add $self->{host}/24 dev wan0
        ip link set wan0 up
        ip route add default via $self->{public}
        echo 1 > /proc/sys/net/ipv4/ip_forward");
    $self->sh("@in sh -ec 'ip link set lo up
        for a in $self->{public} $self->{other}; do
            ip addr add \$a/24 dev wan1; done
        for a in @$self{qw(named moved meta private lan)}; do
            ip addr add \$a/32 dev lo; done
        ip link set wan1 up'");

    spew("$self->{dir}/server.pl", $SERVER);
    $self->serve(80, 'world', split ' ', $self->{in});
    $self->serve(53, 'dns', split ' ', $self->{in});
    $self->serve(8099, 'host');

    $self->hosts('');
    spew("$self->{dir}/resolv.conf", "nameserver $self->{public}\n", 0644);
    $self->sh("for f in hosts resolv.conf; do
        mount --bind $self->{dir}/\$f /etc/\$f; done");

    return $self;
}


sub serve {
    my ($self, $port, $text, @in) = @_;
    my $up = "$self->{dir}/up-$text";

    push @{ $self->{servers} }, start_process(cmd => [@in, $^X,
        "$self->{dir}/server.pl", $port, $text, $up],
        log => "$self->{dir}/server.log");
    wait_for(sub { -e $up }, 20) or die slurp("$self->{dir}/server.log");
}


# A resolver that hears questions, and never answers.
sub silent_resolver {
    my ($self) = @_;
    my $up = "$self->{dir}/up-silent";

    push @{ $self->{servers} }, start_process(cmd => [split(' ', $self->{in}),
        $^X, '-MIO::Socket::INET', '-e', 'my $s = IO::Socket::INET->new('
        . 'Proto => "udp", LocalPort => 53) or die; open my $f, ">", $ARGV[0];'
        . ' sleep 600', $up], log => "$self->{dir}/server.log");
    wait_for(sub { -e $up }, 20) or die slurp("$self->{dir}/server.log");
}


sub hosts {
    my ($self, $lines) = @_;

    spew("$self->{dir}/hosts", "127.0.0.1 localhost\n$lines", 0644);
}


sub end {
    my ($self) = @_;

    stop_process($_, 'KILL') for @{ $self->{servers} }, $self->{world};
}

1;
