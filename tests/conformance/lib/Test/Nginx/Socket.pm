package Test::Nginx::Socket;

# What a test file of OpenResty's suites sees: the functions that its head calls, on top of
# Test::Base, which reads its blocks. Each block becomes one line of JSON on stdout:
#
#   {"block": "TEST 3", "verdict": "pass|fail|skip|refused", "because": [text, ...]}
#
# "refused" is a configuration that the server did not start with.

use Test::Base -Base;

use strict;
use warnings;
no warnings qw(prototype redefine);

use Cwd ();
use JSON::PP ();
use POSIX ();
use Suite::Client;
use Suite::Judge;
use Suite::Peer;
use Suite::Server;
use Test::Nginx::Util;

our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler add_response_body_check bail_out
    check_accum_error_log config_preamble env_to_nginx html_dir log_level master_off master_on
    master_process_enabled no_long_string no_nginx_manager no_root_location no_shuffle plan
    repeat_each run_tests server_addr server_name server_port server_port_for_client server_root
    timeout use_hup worker_connections workers
);

# Seconds that a block may take.
my $BLOCK_LIMIT = 60;

my %settings = (
    repeat => 1,
    log_level => 'debug',
    master => 'off',
    workers => 1,
    connections => 64,
    root_location => 1,
    env => [],
    timeout => 3,
    server_name => 'localhost',
    preamble => '',
    hup => 0,
    whole_log => 0,
);
my @preprocessors;
my $skip_all;
my $server;

BEGIN {
    $server = Suite::Server->new(Cwd::getcwd() . '/t/servroot');
    $Test::Nginx::Util::ServRoot = $server->root;
    $Test::Nginx::Util::HtmlDir = $server->root . '/html';
    $Test::Nginx::Util::ErrLogFile = $server->root . '/logs/error.log';
    $Test::Nginx::Util::ServerPort = $server->port;
    $Test::Nginx::Util::NginxVersion = $server->version('nginx');

    # Test::Builder counts asserts; a verdict here is one of a block.
    no strict 'refs';
    no warnings 'once';
    *{"Test::Builder::$_"} = sub { 1 } for qw(plan done_testing _ending);
}

# Gives a setting, and sets it when there is a value.
sub setting() {
    my ($name, @value) = @_;
    $settings{$name} = $value[0] if @value;
    return $settings{$name};
}

sub repeat_each(@) { setting('repeat', @_) }
sub log_level(@) { setting('log_level', @_) }
sub workers(@) { setting('workers', @_) }
sub worker_connections(@) { setting('connections', @_) }
sub server_name(@) { setting('server_name', @_) }
sub config_preamble(@) { setting('preamble', @_) }
sub timeout(@) { setting('timeout', @_) }
sub master_on() { setting('master', 'on') }
sub master_off() { setting('master', 'off') }
sub master_process_enabled(@) { setting('master', @_ ? ($_[0] ? 'on' : 'off') : ()) }
sub no_root_location() { setting('root_location', 0) }
sub use_hup() { setting('hup', 1) }
sub check_accum_error_log() { setting('whole_log', 1) }
sub env_to_nginx(@) { push @{$settings{env}}, @_ }
sub add_block_preprocessor(&) { unshift @preprocessors, shift }

sub server_root() { $server->root }
sub html_dir() { $server->root . '/html' }
sub server_port() { $server->port }
sub server_port_for_client() { $server->port }
sub server_addr(@) { '127.0.0.1' }
sub bail_out(@) { die "bailed out: @_\n" }

# A plan is of interest only when it says that nothing runs.
sub plan(@) {
    my %plan = @_ % 2 ? () : @_;
    $skip_all = $plan{skip_all} if exists $plan{skip_all};
    return 1;
}

# What only changes how Test::Nginx reports or orders.
sub no_long_string() { }
sub no_shuffle() { }
sub no_nginx_manager() { }
sub add_cleanup_handler(@) { }
sub add_response_body_check(@) { }

sub run_tests() {
    $| = 1;
    $settings{hup} ||= $ENV{TEST_NGINX_USE_HUP};
    my %only = map { $_ => 1 } split /,/, $ENV{CONFORMANCE_BLOCKS} // '';
    my $json = JSON::PP->new->canonical->ascii;
    for my $block (Test::Base::blocks()) {
        my ($name) = $block->name =~ /^(TEST \d+[a-z]?)/;
        $name //= $block->name;
        next if %only && !$only{$name};
        my ($verdict, @because) = verdict_of($block);
        s/[^\x00-\x7f]/?/g for @because;
        print $json->encode({ block => $name, verdict => $verdict, because => \@because }), "\n";
    }
    $server->stop;
    # Without END blocks: Test::Builder's would set another code.
    POSIX::_exit(0);
}

# The verdict of a block and what spoke against it.
sub verdict_of() {
    my ($block) = @_;
    $_->($block) for @preprocessors;
    return ('skip', $skip_all) if defined $skip_all;
    my $skip = skip_of($block);
    return ('skip', $skip) if $skip;
    return ('skip', 'needs a section that is not there: http3') if defined $block->http3;

    my $judge = Suite::Judge->new($block, $server, \%settings);
    my $refused = eval {
        local $SIG{ALRM} = sub { die "the block takes too long\n" };
        alarm $BLOCK_LIMIT;
        my $said = run_block($block, $judge);
        alarm 0;
        $said;
    };
    my $error = $@;
    alarm 0;
    $server->stop unless $settings{hup} && !$error;
    $judge->after_stop unless $error || $refused;
    return ('fail', $error) if $error;
    return ('refused', $refused) if $refused;
    my @faults = $judge->faults;
    return @faults ? ('fail', @faults) : ('pass');
}

# Runs a block; returns why the server refused its configuration, if it did.
sub run_block() {
    my ($block, $judge) = @_;
    $server->forget_ports;
    $server->prepare($block, \%settings);
    my $refused = $server->start($block, \%settings);
    if (defined $block->must_die) {
        $judge->expect('the server must refuse its configuration', defined $refused);
        $judge->check_logs(0);
        return;
    }
    return $refused if defined $refused;
    my $peers = Suite::Peer->start($block, $server);
    my $client = Suite::Client->new($block, $server, \%settings);
    for my $round (0 .. $settings{repeat} - 1) {
        $server->write_user_files($block) if $round;
        run_requests($block, $client, $judge, $round);
        $judge->check_peers($peers);
    }
    $peers->stop;
    return;
}

# One round of a block's requests: over one connection each, or all over one.
sub run_requests() {
    my ($block, $client, $judge, $round) = @_;
    my ($connections, $pipelined) = $client->connections;
    my $index = 0;
    my $several = $pipelined > 1 || @$connections > 1;
    for my $packets (@$connections) {
        my ($received, $fault) = $client->talk($packets);
        $judge->expect("client: $fault", 0) if defined $fault;
        for (1 .. $pipelined) {
            my $left = $judge->check_response($received, $index, $several);
            $received = $left // '';
            $index++;
        }
        Time::HiRes::sleep($block->wait) if $block->wait;
        $judge->check_logs($round);
    }
}

# Why the block does not apply to this server, by its own words.
sub skip_of() {
    my ($block) = @_;
    for my $kind (qw(nginx openssl)) {
        my $section = "skip_$kind";
        my $rule = $block->$section;
        next unless defined $rule;
        my ($operator, @wanted) = $rule =~ /^\s*\d+\s*:\s*([<>]=?)\s*(\d+)\.(\d+)\.(\d+)/ or next;
        my $version = $server->version($kind);
        next unless defined $version;
        my $wanted = sprintf '%d.%03d%03d', @wanted;
        my %holds = (
            '<' => $version < $wanted,
            '<=' => $version <= $wanted,
            '>' => $version > $wanted,
            '>=' => $version >= $wanted,
        );
        return "$kind $operator $wanted" if $holds{$operator};
    }
    my ($condition) = ($block->skip_eval // '') =~ /^\s*\d+\s*:\s*(.*)/s;
    return "skip_eval: $condition" if defined $condition && eval "package main; $condition";
    return;
}

1;
