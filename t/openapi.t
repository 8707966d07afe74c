#!/usr/bin/perl

# The API's document: a validator accepts it, and each operation, called with
# the document's own examples on a running system, answers with a status and a
# body that the document knows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Schema;
use System;
use Test::More;

alarm_after(400);

my $s = System->new;

mkdir "$s->{dir}/pods";
$s->{daemon_args} = ['--external-dir', "$s->{dir}/pods"];
$s->start;

my $r = $s->api(GET => '/v1/openapi.json');
my $document = $r->{json};
my $schema = Schema->new($document);

is($document->{openapi}, '3.1.0', 'an OpenAPI document');
like($r->{headers}{'content-type'}, qr{^application/json}, 'in JSON');

# ---- a validator of others

SKIP: {
    my $dir = top_dir() . '/build/npm';
    my $package = '@seriousme/openapi-schema-validator';
    my $version = '2.4.1';

    skip 'the validator needs npm', 1
        unless (run_command(['sh', '-c', 'command -v npm']))[0] == 0;

    if (!-e "$dir/node_modules/$package/package.json") {
        mkdir top_dir() . '/build';
        mkdir $dir;
        run_command(['npm', 'install', '--silent', '--no-audit', '--no-fund',
            '--no-save', '--prefix', $dir, "$package\@$version"],
            timeout => 200);
    }

    skip "$package can't be had", 1
        unless -e "$dir/node_modules/$package/package.json";

    spew("$s->{dir}/openapi.json", $r->{body});
    spew("$dir/validate.mjs", <<"EOJ");
import { Validator } from '$package';
const result = await new Validator().validate(process.argv[2]);
if (!result.valid) console.log(JSON.stringify(result.errors, null, 1));
process.exit(result.valid ? 0 : 1);
EOJ
    my ($status, $out, $err) = run_command(['node', "$dir/validate.mjs",
        "$s->{dir}/openapi.json"], timeout => 100);

    is($status, 0, "$package accepts it") or diag($out, $err);
}

# ---- as a page

$r = $s->api(GET => '/v1/openapi.html');
is($r->{headers}{'content-type'}, 'text/html; charset=utf-8', 'a page');
unlike($r->{body}, qr{(?:src|href)\s*=|\@import|url\(}, 'that needs nothing');
for my $path (sort keys %{ $document->{paths} }) {
    next if index($r->{body}, "<code>$path</code>") >= 0;
    fail("$path is on the page");
}
is($s->api(GET => '/v1/openapi', headers => { Accept => 'text/html,*/*' })
    ->{body}, $r->{body}, 'for browsers at /v1/openapi, too');
is($s->api(GET => '/v1/openapi')->{json}{openapi}, '3.1.0',
    'where programs get the document');

# ---- each operation, from its examples

my %operation;
for my $path (keys %{ $document->{paths} }) {
    for my $method (keys %{ $document->{paths}{$path} }) {
        my $op = $document->{paths}{$path}{$method};

        $operation{$op->{operationId}} = { %$op, path => $path,
            method => uc $method };
    }
}

my %done;

# call(id, %o): path => {...}, query => {...}, body, json, headers, status
sub call {
    my ($id, %o) = @_;
    my $op = $operation{$id};

    if (!$op) {
        fail("there is no $id");
        return {};
    }
    $done{$id} = 1;

    my ($path, %query, %headers) = $op->{path};

    for my $p (map { $schema->resolve($_) } @{ $op->{parameters} || [] }) {
        my $name = $p->{name};
        my $value = $o{path}{$name} // $p->{example};

        if ($p->{in} eq 'path') {
            $path =~ s/\{\Q$name\E\}/$value/ or fail("$id has {$name}");
        } elsif ($p->{in} eq 'query' && $p->{required}) {
            $query{$name} = $value;
        }
    }

    %query = (%query, %{ $o{query} || {} });
    $path .= '?' . join '&', map { "$_=$query{$_}" } sort keys %query
        if %query;

    my ($type, $content) = %{ $schema->resolve($op->{requestBody} || {})
        ->{content} || {} };
    my %body;

    if (exists $o{body}) {
        $body{body} = $o{body};
    } elsif ($o{json} || ($content && exists $content->{example})) {
        $body{json} = $o{json} || $content->{example};
        my @wrong = $schema->check($body{json}, $content->{schema});
        is("@wrong", '', "$id: the example is one");
    }

    my $got = $s->api($op->{method} => $path, %body,
        headers => $o{headers} || {}, timeout => 60,
        $o{on_data} ? (on_data => $o{on_data}) : ());
    my $status = $got->{status};
    my $want = $o{status} || (sort grep { /^[12]/ } keys %{ $op->{responses} })[0];
    my $answer = $schema->resolve($op->{responses}{$status}
        || $op->{responses}{default});
    my ($out_type) = ($got->{headers}{'content-type'} || '') =~ /^([^;]+)/;
    my $out = $answer->{content} || {};
    my @wrong;

    push @wrong, "status $status, not $want" if $status != $want;
    if (%$out && $op->{method} ne 'HEAD') {
        my $media = $out->{$out_type // ''} || $out->{'*/*'};

        push @wrong, "type " . ($out_type // 'none') unless $media;
        push @wrong, $schema->check($got->{json}, $media->{schema})
            if $media && ($out_type // '') eq 'application/json';
    }
    is("@wrong", '', "$op->{method} $op->{path}: $id")
        or diag(substr $got->{body} // '', 0, 600);

    return $got;
}

call('health');
call('openapi');
call('openapiHtml');
call('openapiEither');
call('createSandbox');
call('createSandbox', headers => { 'Idempotency-Key' => 'k1' },
    json => { labels => { a => 'b' } }) for 1, 2;
call('createSandbox', json => { id => 'BAD' }, status => 400);
call('listSandboxes');
call('getSandbox');
call('getSandbox', path => { id => 'none' }, status => 404);
call('isRunning');
call('putExternal', path => { id => 'elsewhere' });
call('getExternal', path => { id => 'elsewhere' });
call('getExternal', status => 404);
call('putExternal', path => { id => 'elsewhere' },
    json => { endpoint => { kind => 'unix', name => '/a' }, key => '0' x 32 },
    status => 400);
call('events', on_data => sub { 0 });

call('exec');
call('putFile', body => "hello\n");
call('getFile');
call('headFile');
call('getFile', path => { path => 'workspace/none' }, status => 404);
call('createSession');
call('listSessions');
call('deleteSession');
my $tar = call('persist')->{body};
call('hydrate', body => $tar);

call('makeDirectory', path => { path => 'workspace/new/dir' });
call('getPath', path => { path => 'workspace' });
call('getPath');
call('headPath');
call('headPath', path => { path => 'workspace/none' }, status => 404);
call('movePath');
call('deletePath', path => { path => 'workspace/new-name' });
call('deletePath', path => { path => 'workspace/new' }, status => 409);
call('deletePath', path => { path => 'workspace/new' },
    query => { recursive => 1 });
call('makeDirectory', path => { path => 'etc/x' }, status => 403);

call('startProcess');
call('startProcess', json => { processId => 'cat', command => 'cat',
    stdinOpen => JSON::PP::true() });
call('startProcess', json => { processId => 'quick', command => 'echo 1' });
call('startProcess', json => { command => '' }, status => 400);
call('listProcesses');
call('getProcess');
call('getProcess', path => { name => 'none' }, status => 404);
call('getProcessLogs');
call('watchPort');
wait_for(sub { $s->api(GET => '/v1/sandbox/docs/proxy/8000')->{status} == 200 },
    30);
for my $method (qw(get post put delete options patch head)) {
    call("${method}Proxy", $method =~ /^p[oua]/ ? (body => 'x') : (),
        $method =~ /^(?:get|head)$/ ? (status => 200) : (status => 501),
        path => { path => '' });
    call("${method}ProxyRoot", $method =~ /^p[oua]/ ? (body => 'x') : (),
        $method =~ /^(?:get|head)$/ ? (status => 200) : (status => 501));
}
call('writeProcess', path => { name => 'cat' });
call('signalProcess', path => { name => 'cat' });
call('waitProcess', path => { name => 'quick' });
call('streamProcess', path => { name => 'quick' });
call('killProcess');
call('killProcesses');

call('listContexts');
my $context = call('createContext')->{json}{contextId} // 'none';
call('runCode', path => { name => $context });
call('runCode', path => { name => $context },
    headers => { Accept => 'application/json' });
call('deleteContext', path => { name => $context });
call('deleteContext', path => { name => 'none' }, status => 404);

call('watch', on_data => sub { 0 });
call('checkChanges');
$s->exec('docs', 'git init -q -b main /tmp/origin && git -C /tmp/origin'
    . ' -c user.email=a@b -c user.name=a commit -q --allow-empty -m a');
call('gitCheckout');
call('createBackup');
call('restoreBackup');
call('uploadBackup', status => 500);

call('exposePort');
call('getPort');
call('listPorts');
call('putPort');
call('patchPort');
call('patchPort', path => { port => 8099 }, status => 404);
call('unexposePort');

# the container API

call($_) for qw(apiPing apiVersion apiCommands apiSessionCreate
    apiSessionList apiSessionDelete apiExecute apiExecuteStream apiWrite
    apiRead apiReadStream apiRename apiMove apiDelete apiMkdir apiListFiles
    apiExists apiProcessStart apiProcessList apiInterpreterHealth
    apiGitCheckout apiBackupCreate apiBackupRestore apiWatchCheck
    apiContexts apiPortWatch);
call('apiFilePut', body => 'x');
call('apiFile');
call('apiFileHead');
$tar = call('apiArchive', query => { path => '/workspace/a' })->{body};
call('apiArchivePut', query => { path => '/workspace/b' }, body => $tar);
my %web = (path => { name => 'api-web' });
call($_, %web) for qw(apiProcess apiProcessLogs apiProcessSignal);
call('apiProcessStart', json => { processId => 'api-cat', command => 'cat',
    stdinOpen => JSON::PP::true() });
call('apiProcessStdin', path => { name => 'api-cat' });
call('apiProcessKill', path => { name => 'api-cat' });
call('apiProcessWait', path => { name => 'api-cat' });
call('apiProcessStream', path => { name => 'api-cat' });
call('apiProcessKillAll');
$context = call('apiContextCreate')->{json}{contextId} // 'none';
call('apiExecuteCode', json => { context_id => $context, code => '1' });
call('apiContextDelete', path => { name => $context });
call('apiBackupUploadParts', status => 500);
call('apiWatch', on_data => sub { 0 });

# terminals are WebSockets: refused without an upgrade, as they say
call('pty', status => 400);
call('wsPty', status => 503);

# what the host has, and what else is done to a sandbox

call('putDomain');
call('putDomain', path => { name => 'NONE' }, status => 400);
call('listDomains');
call('exposePort', json => { port => 8010, access => 'public',
    hostnames => ['www.apps.example.org'] });
call('deleteDomain');

call('poolStats');
call('primePool');
call('emptyPool');
call('sandboxStats');
call('getEnv');
call('patchEnv');
call('updateSandbox');
call('sleepSandbox');
call('wakeSandbox');
call('forkSandbox', $s->machines ? () : (status => 501));
call('exposePort', json => { port => 8000, access => 'private' });
call('linkPort');
call('createTicket', json => { origin => 'https://app.example.com' });
call('destroySandbox');

# ---- what this test doesn't know

my @left = grep { !$done{$_} } sort keys %operation;
is("@left", '', 'each operation was called');

$s->stop;
done_testing();
