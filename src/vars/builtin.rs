//! nginx's built-in variables without a parameter in their name: one table, a row a variable.

macro_rules! builtins {
    ($($variant:ident $name:literal $(= $writable:ident)?, $doc:literal;)*) => {
        /// A built-in variable, by nginx's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Builtin {
            $(#[doc = $doc] $variant,)*
        }

        impl Builtin {
            /// The variable called `name` (without `$`).
            pub fn from_name(name: &[u8]) -> Option<Self> {
                $(if name == $name.as_bytes() { return Some(Self::$variant); })*
                None
            }

            /// Its name without `$`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether `set` and `ngx.var` may assign it.
            pub fn is_writable(self) -> bool {
                match self {
                    $(Self::$variant => false $(|| stringify!($writable) == "writable")?,)*
                }
            }

            /// All of them, with a line of documentation each.
            pub fn all() -> impl Iterator<Item = (Self, &'static str)> {
                [$((Self::$variant, $doc),)*].into_iter()
            }
        }
    };
}

builtins! {
    Args "args" = writable, "arguments of the request line";
    BinaryRemoteAddr "binary_remote_addr", "client address in 4 or 16 bytes";
    BodyBytesSent "body_bytes_sent", "bytes of the body sent to the client";
    BytesSent "bytes_sent", "bytes sent to the client";
    CanaryReason "canary_reason" = writable, "why this variant was chosen (ours)";
    CanaryVersion "canary_version" = writable, "label of the variant that was chosen (ours)";
    Connection "connection", "serial number of the connection";
    ConnectionRequests "connection_requests", "requests made through this connection so far";
    ConnectionTime "connection_time", "age of the connection in seconds with milliseconds";
    ConnectionsActive "connections_active", "open connections of clients";
    ConnectionsReading "connections_reading", "0: who sends a head is counted as waiting";
    ConnectionsWaiting "connections_waiting", "open connections without a request under way";
    ConnectionsWriting "connections_writing", "requests under way";
    ContentLength "content_length", "the request's Content-Length";
    ContentType "content_type", "the request's Content-Type";
    DocumentRoot "document_root", "`root` of this request";
    DocumentUri "document_uri", "same as $uri";
    EchoCacheableRequestUri "echo_cacheable_request_uri", "current URI, without arguments";
    EchoClientRequestHeaders "echo_client_request_headers", "request line and headers as sent";
    EchoClientRequestMethod "echo_client_request_method", "method as the client sent it";
    EchoIncr "echo_incr", "1, 2, 3, … each time it is asked for";
    EchoIt "echo_it", "the part that `echo_foreach_split` is at";
    EchoRequestBody "echo_request_body", "body, when it was read and is in memory";
    EchoRequestMethod "echo_request_method", "method";
    EchoRequestUri "echo_request_uri", "current URI, without arguments";
    EchoResponseStatus "echo_response_status", "status of the response, once it has one";
    EchoTimerElapsed "echo_timer_elapsed", "seconds since the begin, or `echo_reset_timer`";
    Host "host", "host of the request line, else of Host, else the server's name";
    Hostname "hostname", "this machine's name";
    Http2 "http2", "\"h2\" or \"h2c\" (without TLS) for HTTP/2, else empty";
    Https "https", "\"on\" over TLS, else empty";
    IsArgs "is_args", "\"?\" when there are arguments, else empty";
    LimitConnStatus "limit_conn_status", "PASSED, REJECTED or REJECTED_DRY_RUN by `limit_conn`";
    LimitRate "limit_rate" = writable, "bytes a second that the response may take; 0: no limit";
    LimitReqStatus "limit_req_status", "PASSED, DELAYED or REJECTED by `limit_req`, or _DRY_RUN";
    Msec "msec", "current time in seconds with milliseconds";
    NginxVersion "nginx_version", "the nginx version whose behaviour is followed";
    Pid "pid", "process number";
    Pipe "pipe", "\"p\" for a pipelined request, else \".\"";
    ProxyAddXForwardedFor "proxy_add_x_forwarded_for", "X-Forwarded-For with $remote_addr appended";
    ProxyHost "proxy_host", "name and port of proxy_pass";
    ProxyPort "proxy_port", "port of proxy_pass, or its protocol's default";
    ProxyProtocolAddr "proxy_protocol_addr", "client address of a PROXY protocol header; empty";
    QueryString "query_string", "same as $args";
    RealpathRoot "realpath_root", "`root` with symbolic links resolved";
    RemoteAddr "remote_addr", "client address";
    RemotePort "remote_port", "client port";
    RemoteUser "remote_user", "user name of Basic authentication";
    Request "request", "whole request line";
    RequestBody "request_body", "body, when it was read and is in memory";
    RequestBodyFile "request_body_file", "temporary file that holds the body";
    RequestCompletion "request_completion", "\"OK\" when the request has completed, else empty";
    RequestFilename "request_filename", "`root` followed by $uri";
    RequestId "request_id", "16 random bytes in hexadecimal";
    RequestLength "request_length", "bytes of request line, headers and body";
    RequestMethod "request_method", "method";
    RequestTime "request_time", "seconds with milliseconds since the first byte was read";
    RequestUri "request_uri", "original request target with arguments";
    RolloutReason "rollout_reason", "why the rollout that decided chose this variant (ours)";
    RolloutWeight "rollout_weight", "the share of the first canary then, in percent: 5% (ours)";
    Scheme "scheme", "http or https";
    ServerAddr "server_addr", "address that accepted the request";
    ServerName "server_name", "name of the server that accepted the request";
    ServerPort "server_port", "port that accepted the request";
    ServerProtocol "server_protocol", "HTTP/1.0, HTTP/1.1 or HTTP/2.0";
    SslAlpnProtocol "ssl_alpn_protocol", "protocol that ALPN has agreed upon";
    SslCipher "ssl_cipher", "cipher of the TLS connection";
    SslClientCert "ssl_client_cert", "client certificate, PEM, lines but the first behind a tab";
    SslClientEscapedCert "ssl_client_escaped_cert", "client certificate, PEM, escaped as in a URI";
    SslClientFingerprint "ssl_client_fingerprint", "SHA-1 of the client certificate";
    SslClientIssuer "ssl_client_i_dn", "who signed the client certificate, as in RFC 2253";
    SslClientRawCert "ssl_client_raw_cert", "client certificate, PEM";
    SslClientSerial "ssl_client_serial", "serial number of the client certificate";
    SslClientSubject "ssl_client_s_dn", "whose the client certificate is, as in RFC 2253";
    SslClientVerify "ssl_client_verify", "SUCCESS, FAILED:reason, or NONE without certificate";
    SslProtocol "ssl_protocol", "protocol of the TLS connection";
    SslServerName "ssl_server_name", "name that the client asked for by SNI";
    SslSessionId "ssl_session_id", "number of the TLS session";
    SslSessionReused "ssl_session_reused", "\"r\" for a resumed TLS session, else \".\"";
    Status "status", "status of the response";
    TcpinfoRtt "tcpinfo_rtt", "round-trip time of the client's connection, microseconds";
    TimeIso8601 "time_iso8601", "local time, ISO 8601";
    TimeLocal "time_local", "local time, Common Log Format";
    UpstreamAddr "upstream_addr", "addresses of the peers that were tried";
    UpstreamBytesReceived "upstream_bytes_received", "bytes received from each peer";
    UpstreamBytesSent "upstream_bytes_sent", "bytes sent to each peer";
    UpstreamConnectTime "upstream_connect_time", "seconds to connect to each peer";
    UpstreamHeaderTime "upstream_header_time", "seconds until each peer's response header";
    UpstreamName "upstream_name", "name of the upstream that was chosen (ours)";
    UpstreamResponseLength "upstream_response_length", "body bytes of each peer's response";
    UpstreamResponseTime "upstream_response_time", "seconds until the end of each response";
    UpstreamStatus "upstream_status", "status of each peer's response";
    Uri "uri", "current URI, normalised, without arguments";
}
