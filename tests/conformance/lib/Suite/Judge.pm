package Suite::Judge;

# Holds what happened against what a block expects.

use strict;
use warnings;

use Suite::Response;
use Time::HiRes qw(sleep);

# Seconds that a log line may come after its response, and how often a missing one is looked for.
my $LOG_DELAY = 0.045;
my $LOG_ATTEMPTS = 4;
# Bytes of what came that a fault shows.
my $SHOWN = 300;

sub new {
    my ($class, $block, $server, $settings) = @_;
    my $self = { block => $block, server => $server, settings => $settings };
    return bless { %$self, faults => [], log_at => 0, head => 0 }, $class;
}

sub faults { @{$_[0]{faults}} }

# Notes a fault unless `holds`.
sub expect {
    my ($self, $what, $holds, $got) = @_;
    return if $holds;
    $got = defined $got ? ': ' . substr $got, 0, $SHOWN : '';
    push @{$self->{faults}}, "$what$got";
}

# Whether `got` is what is wanted: text to the letter, or a pattern.
sub is_wanted {
    my ($got, $wanted) = @_;
    return 0 unless defined $got;
    return matches($got, $wanted) if ref $wanted;
    return $got eq $wanted;
}

# 1 or 0, in any context.
sub matches {
    my ($text, $pattern) = @_;
    return $text =~ $pattern ? 1 : 0;
}

# A section's value for the request `index`; for a block of several requests an array has one each.
sub wanted {
    my ($self, $section, $index, $several) = @_;
    my $value = $self->{block}->$section;
    $value = $value->[$several ? $index : 0] if ref $value eq 'ARRAY';
    return $value if !defined $value || ref $value;
    my $port = $self->{server}->port;
    $value =~ s/\$ServerPort(?:ForClient)?\b/$port/g;
    return $self->{server}->expand($value);
}

# Judges the response at the front of `received`; returns what is behind it.
sub check_response {
    my ($self, $received, $index, $several) = @_;
    my $block = $self->{block};
    my $of_head = ($block->request // $block->raw_request // '') =~ /^\s*HEAD\s/;
    my ($response, $left);
    if (defined $block->http09) {
        $response = bless { code => 200, raw => '', headers => {}, body => $received },
            'Suite::Response';
    } else {
        ($response, $left) = Suite::Response->parse($received, $of_head);
    }
    return $left if defined $block->ignore_response;
    my @request = ($response, $index, $several);
    $self->check_code(@request);
    $self->check_headers(@request);
    $self->check_body(@request) unless defined $block->ignore_response_body;
    return $left;
}

sub check_code {
    my ($self, $response, @request) = @_;
    my $code = $response ? $response->code : '';
    my $like = $self->wanted('error_code_like', @request);
    return $self->expect("status is not like $like", matches($code, qr/$like/sm), $code) if defined $like;
    my $wanted = $self->wanted('error_code', @request) // 200;
    $self->expect("status is not $wanted", $code eq $wanted, $code);
}

sub check_headers {
    my ($self, $response, @request) = @_;
    my $raw = $response ? $response->raw : '';
    my $like = $self->wanted('raw_response_headers_like', @request);
    $self->expect("head is not like $like", matches($raw, qr/$like/s), $raw) if defined $like;
    my $unlike = $self->wanted('raw_response_headers_unlike', @request);
    $self->expect("head is like $unlike", !matches($raw, qr/$unlike/s), $raw) if defined $unlike;
    for my $section (qw(response_headers response_headers_like)) {
        my $lines = $self->wanted($section, @request) // next;
        for my $line (grep { /\S/ } split /\n/, $lines) {
            if ($line =~ /^\s*!\s*(\S+)/) {
                my $name = $1;
                $self->expect("header $name is there", !matches($raw, qr/^\Q$name\E[ \t]*:/ms), $raw);
                next;
            }
            my ($name, $wanted) = $line =~ /^\s*(\S+?)\s*:\s*(.*?)\s*$/ or next;
            my $got = $response ? $response->header($name) : '';
            my $holds = $section =~ /like/ ? matches($got, qr/^$wanted$/) : $got eq $wanted;
            $self->expect("header $name is not $wanted", $holds, $got);
        }
    }
}

sub check_body {
    my ($self, $response, @request) = @_;
    my $body = $response ? $response->body : '';
    my $shown = $body // '(broken framing)';
    my $wanted = $self->wanted('response_body', @request);
    my $like = $self->wanted('response_body_like', @request);
    my $unlike = $self->wanted('response_body_unlike', @request);
    if (defined $wanted) {
        $self->expect('body differs', is_wanted($body, $wanted), $shown);
    } elsif (defined $like) {
        $self->expect("body is not like $like", matches($body // '', qr/$like/s) && defined $body, $shown);
    } elsif (defined $unlike) {
        $self->expect("body is like $unlike", !matches($body // '', qr/$unlike/s), $shown);
    }
}

# A section that lists patterns: an array, one pattern, or a line of text each.
sub patterns {
    my ($value) = @_;
    return () unless defined $value;
    return grep { defined } @$value if ref $value eq 'ARRAY';
    return $value if ref $value;
    return grep { $_ ne '' } split /\n+/, $value;
}

sub line_matches {
    my ($pattern, $lines) = @_;
    my $expression = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    return scalar grep { $_ =~ $expression } @$lines;
}

# Judges what the error log has got since the last look.
sub check_logs {
    my ($self, $round) = @_;
    my $block = $self->{block};
    my @wanted = patterns($block->error_log);
    sleep $LOG_DELAY;
    my ($lines, $end) = $self->new_lines;
    for (1 .. $LOG_ATTEMPTS) {
        last unless grep { !line_matches($_, $lines) } @wanted;
        sleep 2 * $LOG_DELAY;
        ($lines, $end) = $self->new_lines;
    }
    $self->{log_at} = $end unless $self->{settings}{whole_log};
    for my $pattern (@wanted) {
        $self->expect("error.log lacks $pattern", line_matches($pattern, $lines));
    }
    for my $pattern (patterns($block->no_error_log)) {
        my ($found) = grep { line_matches($pattern, [$_]) } @$lines;
        $self->expect("error.log has $pattern", !defined $found, $found);
    }
    $self->check_excerpt($lines, $round);
}

sub new_lines {
    my ($self) = @_;
    open my $log, '<', "$self->{server}{root}/logs/error.log" or return ([], 0);
    seek $log, $self->{log_at}, 0;
    my @lines = <$log>;
    return (\@lines, tell $log);
}

# `grep_error_log`: the parts of lines that match, one under the other.
sub check_excerpt {
    my ($self, $lines, $round) = @_;
    my $pattern = $self->{block}->grep_error_log;
    return unless defined $pattern;
    $pattern = $pattern->[$round] if ref $pattern eq 'ARRAY';
    my $wanted = $self->{block}->grep_error_log_out;
    $wanted = $wanted->[$round] if ref $wanted eq 'ARRAY';
    return unless defined $wanted;
    my $expression = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    my $excerpt = '';
    for my $line (@$lines) {
        next unless $line =~ $expression;
        my $part = substr $line, $-[0], $+[0] - $-[0];
        $excerpt .= $part =~ /\n/ ? $part : "$part\n";
    }
    my $holds = is_wanted($excerpt, $self->{server}->expand($wanted));
    $self->expect('excerpt of error.log differs', $holds, $excerpt);
}

# What the block's own servers were sent.
sub check_peers {
    my ($self, $peers) = @_;
    for my $kind (qw(tcp_query udp_query)) {
        my $wanted = $self->{block}->$kind // next;
        my $got = $peers->received(substr $kind, 0, 3);
        $self->expect("$kind differs", is_wanted($got, $wanted), $got // '(nothing)');
    }
}

# What the log has got from the stop.
sub after_stop {
    my ($self) = @_;
    my $block = $self->{block};
    return unless defined $block->shutdown_error_log || defined $block->no_shutdown_error_log;
    my ($lines) = $self->new_lines;
    for my $pattern (patterns($block->shutdown_error_log)) {
        $self->expect("error.log of the end lacks $pattern", line_matches($pattern, $lines));
    }
    for my $pattern (patterns($block->no_shutdown_error_log)) {
        $self->expect("error.log of the end has $pattern", !line_matches($pattern, $lines));
    }
}

1;
