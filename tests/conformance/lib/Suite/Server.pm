package Suite::Server;

# The server under test: its folder, its configuration in Test::Nginx's layout of lines, its start
# and its end.

use strict;
use warnings;

use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

# Seconds that a server has to stop or to take a new configuration.
my $PATIENCE = 3;

# What Test::Nginx passes on from its environment, one line each: six unset ones are blank here.
my $ENV_LINES = "env MOCKEAGAIN;\n\n\n\n\n\n\n";

sub new {
    my ($class, $root) = @_;
    my $self = bless { root => $root, binary => $ENV{TEST_NGINX_BINARY}, ports => {} }, $class;
    $self->{port} = free_port();
    $self->{about} = `$self->{binary} -V 2>&1`;
    $ENV{TEST_NGINX_SERVER_PORT} = $self->{port};
    $ENV{TEST_NGINX_SERVER_ROOT} = $root;
    $ENV{TEST_NGINX_HTML_DIR} //= "$root/html";
    return $self;
}

sub root { $_[0]{root} }
sub port { $_[0]{port} }

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp', Listen => 1)
        or die "no free port: $!\n";
    return $socket->sockport;
}

# 1.022001 for nginx/1.22.1 of `-V`; likewise openssl.
sub version {
    my ($self, $kind) = @_;
    my $name = $kind eq 'nginx' ? qr{(?:nginx|openresty)[^/]*/} : qr{OpenSSL };
    my @parts = $self->{about} =~ /$name(\d+)\.(\d+)\.(\d+)/ or return;
    return sprintf '%d.%03d%03d', @parts;
}

# Random ports live as long as a block.
sub forget_ports { $_[0]{ports} = {} }

# Puts the environment's values into `$TEST_NGINX_NAME`; what is no text stays.
sub expand {
    my ($self, $text) = @_;
    return $text if !defined $text || ref $text;
    $text =~ s{\$(TEST_NGINX_[A-Z0-9_]+)}{$self->value_of($1)}ge;
    return $text;
}

sub value_of {
    my ($self, $name) = @_;
    return $self->{ports}{$name} //= free_port() if $name =~ /RAND_PORT_\d+$/;
    return $ENV{$name} // die "no $name in the environment\n";
}

# A fresh folder with configuration and files; a server that is to reload keeps its own.
sub prepare {
    my ($self, $block, $settings) = @_;
    my $root = $self->{root};
    $self->{keeps_running} = $settings->{hup} && $self->pid;
    remove_tree($root) unless $self->{keeps_running};
    make_path("$root/$_") for qw(logs conf html);
    my $hello = '<body>It works!</body>';
    write_file("$root/html/index.html", "<html><head><title>It works!</title></head>$hello</html>");
    $self->write_user_files($block);
    write_file("$root/conf/nginx.conf", $self->configuration($block, $settings));
}

sub write_file {
    my ($path, $text) = @_;
    my ($folder) = $path =~ m{^(.*)/};
    make_path($folder) unless -d $folder;
    open my $file, '>', $path or die "cannot write $path: $!\n";
    binmode $file;
    print $file $text // '';
    close $file or die "cannot write $path: $!\n";
}

# `--- user_files`: `>>> PATH [TIME]` and the text, or an array of [PATH, TEXT, TIME].
sub write_user_files {
    my ($self, $block) = @_;
    my $files = $block->user_files;
    return unless defined $files;
    if (!ref $files) {
        my @list;
        for my $line (split /(?<=\n)/, $files) {
            if ($line =~ />>> (\S+)(?:\s+(\S+))?/) { push @list, [$1, '', $2] }
            elsif (@list) { $list[-1][1] .= $line }
        }
        $files = \@list;
    }
    for my $file (@$files) {
        my ($name, $text, $time) = @$file;
        my $path = $name =~ m{^/} ? $name : "$self->{root}/html/$name";
        write_file($path, $self->expand($text));
        system('env', 'TZ=GMT', 'touch', '-t', $time, $path) if $time;
    }
}

# The configuration. Which line a section begins on is part of the format: chunk names hold it, and
# the first line of `--- config` is line 39.
sub configuration {
    my ($self, $block, $settings) = @_;
    my $root = $self->{root};
    my %section = map { $_ => $self->expand($block->$_) // '' }
        qw(main_config http_config config post_main_config error_log_file);
    my $level = $block->log_level || $settings->{log_level};
    my $error_log = $section{error_log_file} || "$root/logs/error.log";
    my $folders = join ' ', map { "${_}_temp_path $root/${_}_temp;" }
        grep { $section{http_config} !~ /\b${_}_temp_path\b/ } qw(client_body proxy);
    my $env = join '', map { "env $_;\n" } @{$settings->{env}};
    my $location = "location / { root $root/html; index index.html index.htm; }";
    my $first = $ENV{CONFORMANCE_MAIN} // '';
    my $http = $ENV{CONFORMANCE_HTTP} // '';
    my $name = $block->server_name // $settings->{server_name};
    # No more than this may stand before `--- config`.
    my $before = "worker_processes $settings->{workers};\ndaemon on;\n"
        . "master_process $settings->{master};\nerror_log $error_log $level;\n"
        . "pid $root/logs/nginx.pid;\n$ENV_LINES$env\n\n\n$first $section{main_config}\n\n"
        . "http {\n    access_log $root/logs/access.log; $folders $http\n\n\n"
        . "    default_type text/plain;\n    keepalive_timeout 68000ms;\n\n$section{http_config}\n"
        . "    server {\n        listen $self->{port};\n\n        server_name '$name';\n\n"
        . "        client_max_body_size 30M;\n\n\n\n$settings->{preamble}\n\n\n\n";
    my $after = "\n\n" . ($settings->{root_location} ? $location : '') . "\n    }\n"
        . $self->version_server($settings)
        . "}\n\n$section{post_main_config}\n\nevents {\n    accept_mutex off;\n"
        . "    worker_connections $settings->{connections};\n}\n";
    return "$before$section{config}$after";
}

# A server that tells which configuration is in force, for reloads.
sub version_server {
    my ($self, $settings) = @_;
    return '' unless $settings->{hup};
    my $number = ++$self->{number};
    return "server { listen $self->{port}; server_name Test-Nginx;"
        . " location = /ver { return 200 '$number'; } }\n";
}

# Starts the server, or reloads it; returns what it says if it refuses.
sub start {
    my ($self, $block, $settings) = @_;
    return $self->{keeps_running} ? $self->reload($block) : $self->launch;
}

sub launch {
    my ($self) = @_;
    my $root = $self->{root};
    my @command = ($self->{binary}, '-e', "$root/logs/error.log", '-p', "$root/",
        '-c', "$root/conf/nginx.conf");
    my $code = system("@command >/dev/null 2>$root/logs/stderr");
    return if $code == 0;
    my $said = read_file("$root/logs/stderr");
    $said =~ s/\s+/ /g;
    return "$said (code " . ($code >> 8) . ')';
}

sub read_file {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

sub reload {
    my ($self, $block) = @_;
    my ($pid, $log) = ($self->pid, "$self->{root}/logs/error.log");
    unlink $log;
    kill 'USR1', $pid;
    wait_for(sub { -e $log });
    kill 'HUP', $pid;
    my $taken = wait_for(sub { $self->number_in_force eq $self->{number} });
    return if $taken || defined $block->reload_fails;
    return 'the configuration was refused at the reload' if read_file($log) =~ /\[emerg\]/;
    # nginx without a master process accepts nothing behind some reloads: it is started anew.
    $self->stop;
    return $self->launch;
}

sub number_in_force {
    my ($self) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port})
        or return '';
    print $socket "GET /ver HTTP/1.0\r\nHost: Test-Nginx\r\n\r\n";
    local $/;
    my ($number) = (<$socket> // '') =~ /\r\n\r\n(\d+)$/;
    return $number // '';
}

# Whether `condition` becomes true in time.
sub wait_for {
    my ($condition) = @_;
    my $end = time + $PATIENCE;
    until ($condition->()) {
        return 0 if time > $end;
        sleep 0.02;
    }
    return 1;
}

# The running server's process, if it runs.
sub pid {
    my ($self) = @_;
    my ($pid) = read_file("$self->{root}/logs/nginx.pid") =~ /^(\d+)/;
    return $pid && kill(0, $pid) ? $pid : undef;
}

# A quiet stop, and a hard one if that takes too long.
sub stop {
    my ($self) = @_;
    my $pid = $self->pid or return;
    kill 'QUIT', $pid;
    return if wait_for(sub { !kill 0, $pid });
    kill 'KILL', $pid;
    wait_for(sub { !kill 0, $pid });
}

1;
