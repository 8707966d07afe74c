#!/usr/bin/perl

# AF_VSOCK from nginx and sandboxd to an agent: t/vsock.t in a virtual machine
# whose kernel has vsock_loopback, with the programs of this machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Harness;
use Nested;
use Test::More;
use Vm;

Vm->plan;
alarm_after(1500);

Nested::run(test => 't/vsock.t', modules => 'vsock_loopback', least => 15);
done_testing();
