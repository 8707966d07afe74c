package Harness;

# What every test needs: a temporary directory that goes away, free ports,
# processes that are ended by their pid, an HTTP client that shows the bytes,
# and waits that have a deadline.  Core modules only.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Path qw(remove_tree);
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
    build_dir top_dir is_san tmp_dir free_port wait_for run_command
    start_process stop_process process_alive slurp spew
    http http_connect http_send http_read json_decode json_encode
    descendants san_env alarm_after path_hash kept_in slower
);

my $OWNER = $$;
my (@tmp, %process);

my $TOP = abs_path(__FILE__ =~ m{^(.*)/t/lib/} ? $1 : '.');
my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;


sub top_dir { return $TOP }


# The directory of the products under test.
sub build_dir {
    my $dir = $ENV{SANDBOX_BUILD} || 'build';

    return $dir =~ m{^/} ? $dir : "$TOP/$dir";
}


sub is_san { return build_dir() =~ m{/san$} ? 1 : 0 }


# How many times as long as a container a sandbox may take: a virtual machine
# is emulated where there is no KVM.
sub slower { return ($ENV{SANDBOX_DRIVER} // 'oci') eq 'oci' ? 1 : 4 }


# The environment in which an uninstrumented program (nginx) can load an
# instrumented module.
sub san_env {
    return () unless is_san();

    chomp(my $asan = `gcc -print-file-name=libasan.so`);
    chomp(my $ubsan = `gcc -print-file-name=libubsan.so`);

    return (
        LD_PRELOAD => abs_path($asan) . ' ' . abs_path($ubsan),
        # Every module of nginx defines `ngx_modules`, and so does nginx.
        ASAN_OPTIONS => 'detect_leaks=0:abort_on_error=0:'
            . 'detect_odr_violation=0',
        UBSAN_OPTIONS => 'print_stacktrace=1:halt_on_error=1',
    );
}


# A fresh directory, removed at the end.  Others (the workers' user) can pass
# through it, but not list it.  It is on a disk: /tmp may be memory, and what a
# sandbox writes there would count as the memory that it uses.
sub tmp_dir {
    my $dir = File::Temp::tempdir('sbx-XXXXXXXX', DIR => '/var/tmp');

    chmod 0711, $dir;
    push @tmp, $dir;

    return $dir;
}


sub free_port {
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
        Proto => 'tcp', Listen => 1, ReuseAddr => 1) or die "port: $!";
    my $port = $s->sockport();

    close $s;

    return $port;
}


# A command in front of another that makes everything but $dir read-only for
# it, in a mount namespace of its own: for what is driven by random bytes.
sub kept_in {
    my ($dir) = @_;
    my $script = 'set -e; dir=$1; shift; mount --make-rprivate /;'
        . ' mount --bind "$dir" "$dir";'
        . ' while read -r _ _ _ _ at _; do case $at in'
        . ' "$dir"|/proc|/proc/*|/dev|/dev/pts|/sys|/sys/*) ;;'
        . ' *) mount -o remount,bind,ro "$at" 2>/dev/null || true ;; esac;'
        . ' done </proc/self/mountinfo;'
        . ' ! touch /kept_in 2>/dev/null; exec "$@"';

    return ('unshare', ($> == 0 ? '-m' : '-rm'), '--', 'sh', '-c', $script,
        'sh', $dir);
}


# Calls the code until it returns something true; that, or undef in the end:
# after so many seconds, or several times as many if it is more than a moment,
# since a machine may be busy.
sub wait_for {
    my ($code, $seconds, $pause) = @_;

    $seconds //= 10;
    $seconds *= 4 if $seconds >= 3;

    my $end = time() + $seconds;

    while (1) {
        my $got = $code->();

        return $got if $got;
        return undef if time() > $end;
        sleep($pause // 0.02);
    }
}


sub slurp {
    my ($path) = @_;

    open my $fh, '<:raw', $path or return undef;
    local $/;

    return scalar <$fh>;
}


sub spew {
    my ($path, $content, $mode) = @_;

    open my $fh, '>:raw', $path or die "$path: $!";
    print $fh $content;
    close $fh or die "$path: $!";
    chmod $mode, $path if defined $mode;

    return $path;
}


# start_process(cmd => [...], log => FILE, env => {...}, fds => {3 => $fh})
# returns the pid.  Standard output and error go to the log.
sub start_process {
    my (%o) = @_;
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        if ($o{log}) {
            open STDOUT, '>>', $o{log} or POSIX::_exit(126);
            open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        }
        for my $fd (sort { $a <=> $b } keys %{ $o{fds} || {} }) {
            POSIX::dup2(fileno($o{fds}{$fd}), $fd);
        }
        %ENV = (%ENV, %{ $o{env} || {} });
        setpgrp(0, 0) if $o{group};
        chdir $o{cwd} if $o{cwd};
        { no warnings 'exec'; exec { $o{cmd}[0] } @{ $o{cmd} }; }
        print STDERR "exec $o{cmd}[0]: $!\n";
        POSIX::_exit(127);
    }

    $process{$pid} = $o{name} || $o{cmd}[0];

    return $pid;
}


sub process_alive {
    my ($pid) = @_;

    return 0 unless $pid && kill 0, $pid;

    my $stat = slurp("/proc/$pid/stat") // return 0;

    return $stat =~ /\) [ZX] / ? 0 : 1;
}


# Signals the process, waits, kills it if it hasn't ended; its wait status.
sub stop_process {
    my ($pid, $signal, $seconds) = @_;
    my $end = time() + ($seconds // 10);

    return undef unless $pid && delete $process{$pid};

    kill $signal || 'TERM', $pid;

    while (1) {
        my $got = waitpid($pid, WNOHANG);

        return $? if $got == $pid;
        return undef if $got < 0;
        if (time() > $end) {
            print STDERR "# $pid did not end on ", $signal || 'TERM', "\n";
            kill 'KILL', $pid;
            $end = time() + 10;
        }
        sleep(0.01);
    }
}


# Runs a command; (status, standard output, standard error).
sub run_command {
    my ($cmd, %o) = @_;
    my $dir = $o{dir} || tmp_dir();
    my ($out, $err) = ("$dir/out.$$", "$dir/err.$$");
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', $o{stdin} // '/dev/null';
        open STDOUT, '>', $out;
        open STDERR, '>', $err;
        %ENV = (%ENV, %{ $o{env} || {} });
        chdir $o{cwd} if $o{cwd};
        { no warnings 'exec'; exec { $cmd->[0] } @$cmd; }
        POSIX::_exit(127);
    }

    my $end = time() + ($o{timeout} // 60);
    my $status;

    while (1) {
        my $got = waitpid($pid, WNOHANG);

        if ($got) { $status = $?; last }
        if (time() > $end) {
            kill 'KILL', $pid;
            waitpid($pid, 0);
            $status = -1;
            last;
        }
        sleep(0.01);
    }

    my @got = ($status, slurp($out), slurp($err));

    unlink $out, $err;
    # Also for a process that ends without an end of its own.
    if (!$o{dir}) {
        rmdir $dir;
        @tmp = grep { $_ ne $dir } @tmp;
    }

    return @got;
}


# All processes below a pid, itself included.
sub descendants {
    my ($root) = @_;
    my (%children, @found);

    opendir my $d, '/proc' or return ();
    for my $pid (grep { /^\d+$/ } readdir $d) {
        my $stat = slurp("/proc/$pid/stat") // next;

        push @{ $children{$1} }, $pid if $stat =~ /\) \S (\d+) /;
    }

    my @todo = ($root);
    while (defined(my $pid = shift @todo)) {
        push @found, $pid;
        push @todo, @{ $children{$pid} || [] };
    }

    return @found;
}


# The hash (64-bit FNV-1a, in hex) by which sandboxd names what belongs to a
# directory.
sub path_hash {
    my ($path) = @_;

    require Math::BigInt;
    my $h = Math::BigInt->new('14695981039346656037');
    my $m = Math::BigInt->new(2)->bpow(64);

    for my $byte (unpack 'C*', $path) {
        $h->bxor($byte)->bmul('1099511628211')->bmod($m);
    }

    return sprintf '%016s', substr $h->as_hex, 2;
}


sub json_decode {
    my ($text) = @_;
    my $value = eval { $JSON->decode($text // '') };

    return $value;
}


sub json_encode { return $JSON->encode($_[0]) }


# A test that hangs fails, and says where.
sub alarm_after {
    my ($seconds) = @_;

    $seconds *= slower();

    $SIG{ALRM} = sub {
        print "Bail out!  no end after $seconds s\n" if $$ == $OWNER;
        die "no end after $seconds s\n";
    };
    alarm $seconds;
}


# ---- HTTP -----------------------------------------------------------------

# http_connect(port => N | unix => PATH, host => ADDR, local => ADDR) returns a
# socket.
sub http_connect {
    my (%o) = @_;
    my $s;

    if ($o{unix}) {
        $s = IO::Socket::UNIX->new(Peer => $o{unix}, Type => SOCK_STREAM);
    } else {
        $s = IO::Socket::INET->new(PeerAddr => $o{addr} || '127.0.0.1',
            PeerPort => $o{port}, Proto => 'tcp',
            $o{local} ? (LocalAddr => $o{local}) : (),
            Timeout => $o{timeout} // 10);
    }

    return $s;
}


sub http_send {
    my ($s, $data, $seconds) = @_;
    my $end = time() + ($seconds // 30);
    my $sel = IO::Select->new($s);

    local $SIG{PIPE} = 'IGNORE';

    while (length $data) {
        return 0 if time() > $end;
        next unless $sel->can_write(0.2);
        my $n = syswrite $s, $data, 65536;
        return 0 unless defined $n;
        substr($data, 0, $n) = '';
    }

    return 1;
}


# Reads one response.  Returns { status, reason, headers => {lower => last},
# all => [[name, value]...], body, raw, complete, rest }.
# $o{on_data}->($bytes) is called with pieces of the decoded body as they come;
# if it returns 0, reading stops there.
sub http_read {
    my ($s, %o) = @_;
    my $end = time() + ($o{timeout} // 30 * slower());
    my $sel = IO::Select->new($s);
    my $in = $o{buffer} // '';
    my $eof = 0;

    my $more = sub {
        return 0 if $eof;
        while (1) {
            my $left = $end - time();

            return 0 if $left <= 0;
            next unless $sel->can_read($left > 0.5 ? 0.5 : $left);
            my $n = sysread $s, $in, 262144, length $in;
            if (!$n) { $eof = 1; return 0 }
            return 1;
        }
    };

    my $r = { status => 0, headers => {}, all => [], body => '',
              complete => 0 };

    while (1) {
        until ($in =~ /\r\n\r\n/) {
            if (!$more->()) {
                $r->{raw} = $in;
                return $r;
            }
        }
        $in =~ s/^(.*?)\r\n\r\n//s;
        my ($line, @lines) = split /\r\n/, $1;

        $r->{head} = $1;
        ($r->{version}, $r->{status}, $r->{reason})
            = $line =~ m{^(HTTP/\d\.\d) (\d+) ?(.*)$} or return $r;
        for (@lines) {
            my ($n, $v) = /^([^:]+):\s*(.*?)\s*$/ or next;
            $r->{headers}{lc $n} = $v;
            push @{ $r->{all} }, [$n, $v];
        }
        last if $r->{status} == 101 || $r->{status} >= 200;
        $r->{interim} = $r->{status};
        $r->{headers} = {};
        $r->{all} = [];
    }

    my $take = sub {
        my ($bytes) = @_;

        if ($o{on_data}) {
            $r->{received} += length $bytes;
            return $o{on_data}->($bytes, $r) // 1;
        }
        $r->{body} .= $bytes;
        return 1;
    };

    my $h = $r->{headers};

    if (($o{method} || '') eq 'HEAD' || $r->{status} == 101
        || $r->{status} == 204 || $r->{status} == 304)
    {
        $r->{complete} = 1;

    } elsif (($h->{'transfer-encoding'} || '') =~ /chunked/i) {
        CHUNK: while (1) {
            until ($in =~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/) {
                $more->() or last CHUNK;
            }
            # Matched again: a loop's body hides what its condition captured.
            $in =~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/;
            my $size = hex $1;
            my $skip = $+[0];
            if ($size == 0) {
                until ($in =~ /^[0-9a-fA-F]+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n/) {
                    $more->() or last CHUNK;
                }
                $in =~ s/^[0-9a-fA-F]+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n//;
                $r->{complete} = 1;
                last;
            }
            until (length($in) >= $skip + $size + 2) {
                $more->() or last CHUNK;
            }
            my $data = substr $in, $skip, $size;
            substr($in, 0, $skip + $size + 2) = '';
            last unless $take->($data);
        }

    } elsif (defined $h->{'content-length'}) {
        my $left = $h->{'content-length'};
        while ($left > 0) {
            if (!length $in) { $more->() or last }
            my $data = substr $in, 0, $left, '';
            $left -= length $data;
            last unless $take->($data);
        }
        $r->{complete} = $left == 0;

    } else {
        while (1) {
            if (length $in) {
                my $data = $in;
                $in = '';
                last unless $take->($data);
            }
            $more->() or last;
        }
        $r->{complete} = $eof;
    }

    $r->{rest} = $in;
    $r->{json} = json_decode($r->{body})
        if ($h->{'content-type'} || '') =~ /json/;

    return $r;
}


# http(method => 'GET', port => N | unix => PATH, path => '/', host => 'x',
#      headers => {...} or [[n, v]...], body => BYTES, json => VALUE,
#      preface => "CONTROL key\n", timeout => S, on_data => CODE)
# A preface's answer line is in the result as `preface`.
sub http {
    my (%o) = @_;
    my $s = $o{socket} || http_connect(%o)
        or return { status => 0, error => "connect: $!", headers => {},
                    all => [], body => '' };
    my $method = $o{method} || 'GET';
    my @headers = ref $o{headers} eq 'ARRAY' ? @{ $o{headers} }
        : map { [$_, $o{headers}{$_}] } sort keys %{ $o{headers} || {} };
    my $body = $o{body};

    if (exists $o{json}) {
        $body = json_encode($o{json});
        push @headers, ['Content-Type', 'application/json'];
    }

    my $head = "$method " . ($o{path} // '/') . " HTTP/1.1\r\n";

    $head .= 'Host: ' . ($o{host} // 'localhost') . "\r\n"
        unless grep { lc $_->[0] eq 'host' } @headers;
    $head .= "$_->[0]: $_->[1]\r\n" for @headers;
    $head .= 'Content-Length: ' . length($body) . "\r\n"
        if defined $body && !grep { lc($_->[0]) =~ /^(?:content-length|transfer-encoding)$/ }
            @headers;
    $head .= "Connection: close\r\n"
        unless $o{keepalive} || grep { lc $_->[0] eq 'connection' } @headers;
    $head .= "\r\n";

    my $data = ($o{preface} // '') . $head . ($body // '');
    my $sent = http_send($s, $data, $o{timeout});
    my $buffer = '';
    my $preface;

    if (defined $o{preface}) {
        my $end = time() + ($o{timeout} // 30 * slower());
        my $sel = IO::Select->new($s);
        until ($buffer =~ s/^([^\n]*)\n//) {
            last if time() > $end;
            next unless $sel->can_read(0.2);
            sysread($s, $buffer, 65536, length $buffer) or last;
        }
        $preface = $1;
    }

    my $r = http_read($s, %o, method => $method, buffer => $buffer);

    $r->{preface} = $preface;
    $r->{sent} = $sent;
    $r->{socket} = $s;
    close $s unless $o{keepalive};

    return $r;
}


END {
    if ($$ == $OWNER) {
        my $status = $?;

        alarm 0;
        stop_process($_, 'TERM', 5) for keys %process;
        for my $dir (@tmp) {
            if ($ENV{SANDBOX_KEEP}) {
                print STDERR "# kept: $dir\n";
                next;
            }
            remove_tree($dir, { safe => 0, error => \my $error });
        }
        $? = $status;
    }
}

1;
