#!/usr/bin/perl
# The first process of a sandbox: runs the test files whose names come on stdin, one after the
# other, as nobody. On stdout: a line of JSON a block, and `done FILE SECONDS` behind each file.
#
# As the first process it also buries the servers that went to the background, at once: who waits
# for the end of one asks whether its process still is there.

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(time);

# Seconds that a file may take.
my $LIMIT = 300;
my $NOBODY = 65534;

$ENV{HOME} = '/tmp';
$ENV{PERL5LIB} = '/mnt/runner/lib';
$ENV{OPENSSL_CONF} = '/mnt/runner/openssl.cnf';
$ENV{TEST_NGINX_BINARY} = '/mnt/server';
$ENV{TEST_NGINX_RESOLVER} = '127.0.0.1';
$ENV{TEST_NGINX_OPENRESTY_ORG_IP} = '172.105.207.225';
$ENV{TEST_NGINX_MEMCACHED_PORT} = 11211;
$ENV{TEST_NGINX_REDIS_PORT} = 6379;

$| = 1;
while (my $line = <STDIN>) {
    my ($file, $blocks) = $line =~ /^(\S+)(?: +(.+))?/ or next;
    my $began = time;
    run($file, $blocks);
    printf "done %s %.1f\n", $file, time - $began;
}

# Runs a file, or some blocks of it (names between commas), and buries whoever dies until it has ended.
sub run {
    my ($file, $blocks) = @_;
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        setpgrp;
        open STDIN, '<', '/dev/null' or die "/dev/null: $!\n";
        $ENV{CONFORMANCE_BLOCKS} = $blocks if defined $blocks;
        $( = $NOBODY;
        $) = "$NOBODY $NOBODY";
        POSIX::setuid($NOBODY);
        exec 'perl', '-I.', $file or POSIX::_exit(127);
    }
    local $SIG{ALRM} = sub { kill 'KILL', -$pid };
    alarm $LIMIT;
    while ((my $dead = waitpid -1, 0) != $pid) {
        last if $dead < 0 && !$!{EINTR};
    }
    alarm 0;
    # Nothing of a file outlives it.
    kill 'KILL', -$pid;
    system 'pkill', '-KILL', '-u', $NOBODY, '-x', 'server';
}
