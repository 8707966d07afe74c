package Npm;

# Packages that tests need and Debian doesn't have, from the npm registry, in
# build/npm; one version of each.
#
#   my $dir = npm_package('typescript', '5.9.3') or plan skip_all => …;

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Path qw(make_path);
use Harness;
use JSON::PP ();

use parent 'Exporter';
our @EXPORT = qw(npm_package);


# The package's directory, or nothing if it can't be had.
sub npm_package {
    my ($name, $version) = @_;
    my $store = top_dir() . "/build/npm/$name\@$version";
    my $dir = "$store/node_modules/$name";

    make_path($store);
    open my $lock, '>', "$store/lock" or die "$store/lock: $!";
    flock $lock, LOCK_EX or die "flock: $!";

    unless (installed($dir, $version)) {
        run_command(['npm', 'install', '--prefix', $store, '--no-save',
                     '--no-package-lock', '--no-audit', '--no-fund',
                     '--loglevel=error', "$name\@$version"],
                    timeout => 120);
    }

    return installed($dir, $version) ? $dir : undef;
}


sub installed {
    my ($dir, $version) = @_;
    my $text = slurp("$dir/package.json") // return 0;

    return JSON::PP::decode_json($text)->{version} eq $version;
}

1;
