package Unpacked;

# A program of another Debian than this one, fetched by an apt with a
# configuration of its own, and unpacked but not installed.
#
#   my ($path, $why) = Unpacked::program('vhost-device-vsock', 'testing',
#       'usr/bin/vhost-device-vsock');
#
# Kept in build/unpacked; what went wrong if there is none.

use strict;
use warnings;

use CleanMachine;
use Fcntl qw(:flock);
use Harness;


sub apt_conf {
    my ($dir, $release, $mirror) = @_;

    mkdir "$dir/$_" for qw(lists lists/partial cache cache/archives
        cache/archives/partial);
    spew("$dir/sources.list", "deb $mirror $release main\n");
    spew("$dir/status", '');
    spew("$dir/apt.conf", CleanMachine::apt_options() . <<"END");
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$dir";
Dir::State::Lists "$dir/lists";
Dir::State::Status "$dir/status";
Dir::Cache "$dir/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::http::Timeout "20";
Acquire::Retries "1";
END

    return "$dir/apt.conf";
}


sub program {
    my ($package, $release, $name) = @_;
    my $kept = top_dir() . "/build/unpacked/$package-$release";

    mkdir $_ for map { top_dir() . "/build$_" } '', '/unpacked';
    open my $lock, '>', "$kept.lock" or die "$kept.lock: $!";
    flock $lock, LOCK_EX;
    return "$kept/$name" if -x "$kept/$name";

    my $mirror = CleanMachine::mirror();
    return (undef, 'apt has no source of Debian itself here') unless $mirror;

    my $dir = tmp_dir();
    my $conf = apt_conf($dir, $release, $mirror);
    my $script = 'cd "$1" && apt-get -q update && apt-get -q download "$2" '
        . '&& dpkg-deb -x "$2"_*.deb "$3"';
    my ($status, $out, $err) = run_command(['sh', '-c', $script, 'sh', $dir,
        $package, $kept], timeout => 300, env => { APT_CONFIG => $conf });

    return -x "$kept/$name" ? "$kept/$name"
        : (undef, "$package of $release can't be fetched: "
            . substr(($out // '') . ($err // ''), -300));
}

1;
