//! Statuses: the reason phrases that nginx sends and the pages that it makes up for errors.

/// What follows the number in a status line of nginx: for an unknown status nothing, so that the
/// line ends in a space.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Moved Temporarily",
        304 => "Not Modified",
        401 => "Unauthorized",
        _ if !(494..500).contains(&status) => title(status).unwrap_or_default(),
        _ => "",
    }
}

/// The title of the page that nginx has for `status`, without the number; `None` where it has no
/// page and sends an empty body.
pub fn title(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Authorization Required",
        402 => "Payment Required",
        403 => "Forbidden",
        404 | 498 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        494 => "Request Header Or Cookie Too Large",
        495 => "The SSL certificate error",
        496 => "No required SSL certificate was sent",
        497 => "The plain HTTP request was sent to HTTPS port",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => return None,
    })
}

/// The status that goes out for nginx's own 494 to 497, which stand for kinds of 400.
pub const fn sent(status: u16) -> u16 {
    match status {
        494..=497 => 400,
        _ => status,
    }
}

/// Whether nginx closes the connection after answering with this status of its own making.
pub const fn closes(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 495 | 496 | 497 | 500 | 501)
}

/// The page for `status` with `product` (`nginx/1.22.1`, or `nginx` with `server_tokens off`)
/// below the line; `text/html`. `None` where nginx sends an empty body: 204, 304, unknown ones.
pub fn page(status: u16, product: &str) -> Option<String> {
    let title = title(status)?;
    let number = if status == 498 { 404 } else { sent(status) };
    let (heading, detail) = if (494..=497).contains(&status) {
        ("Bad Request", format!("<center>{title}</center>\r\n"))
    } else {
        (title, String::new())
    };
    Some(format!(
        "<html>\r\n<head><title>{number} {title}</title></head>\r\n<body>\r\n\
         <center><h1>{number} {heading}</h1></center>\r\n{detail}\
         <hr><center>{product}</center>\r\n</body>\r\n</html>\r\n"
    ))
}

/// What `msie_padding` (on by default) adds to a page from 400 on, for agents that
/// [`wants_padding`] tells and from HTTP/1.0 on.
pub const PADDING: &str = "\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

/// Whether nginx takes this `User-Agent` for MSIE or Chrome, whose own error pages replace short
/// ones.
pub fn wants_padding(user_agent: &[u8]) -> bool {
    let find = |needle: &[u8]| memchr::memmem::find(user_agent, needle);
    if find(b"Opera").is_some() {
        return false;
    }
    if find(b"MSIE ").is_some_and(|at| at + 7 < user_agent.len()) {
        return true;
    }
    find(b"Gecko/").is_none() && find(b"Chrome/").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_nginx_s() {
        let cases = [
            (302, "Moved Temporarily"),
            (305, ""),
            (401, "Unauthorized"),
            (405, "Not Allowed"),
            (408, "Request Time-out"),
            (417, ""),
            (425, ""),
            (451, ""),
            (494, ""),
            (498, ""),
            (503, "Service Temporarily Unavailable"),
            (506, ""),
            (507, "Insufficient Storage"),
            (203, ""),
            (206, "Partial Content"),
        ];
        for (status, want) in cases {
            assert_eq!(reason(status), want, "{status}");
        }
    }

    #[test]
    fn pages_have_the_length_that_nginx_announces() {
        let cases = [
            (204, None),
            (301, Some(169)),
            (302, Some(145)),
            (303, Some(153)),
            (304, None),
            (305, None),
            (308, Some(171)),
            (400, Some(157)),
            (401, Some(179)),
            (407, None),
            (413, Some(183)),
            (416, Some(197)),
            (421, Some(173)),
            (451, None),
            (494, Some(233)),
            (495, Some(215)),
            (496, Some(237)),
            (497, Some(255)),
            (498, Some(153)),
            (499, None),
            (500, Some(177)),
            (505, Some(187)),
            (506, None),
            (507, Some(175)),
            (508, None),
        ];
        for (status, want) in cases {
            let len = page(status, "nginx/1.22.1").map(|it| it.len());
            assert_eq!(len, want, "{status}");
        }
    }

    #[test]
    fn pages_look_like_nginx_s() {
        assert_eq!(
            page(494, "nginx").unwrap(),
            "<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>\r\n\
             <body>\r\n<center><h1>400 Bad Request</h1></center>\r\n\
             <center>Request Header Or Cookie Too Large</center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        assert_eq!((sent(497), sent(498), sent(404)), (400, 498, 404));
        assert_eq!(page(404, "nginx/1.22.1").unwrap().len() + PADDING.len(), 555);
    }

    #[test]
    fn padding_is_for_msie_and_chrome() {
        let cases = [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows) Opera 8.0", false),
            ("Mozilla/5.0 (X11) AppleWebKit/537 (KHTML, like Gecko) Chrome/120 Safari/537", true),
            ("Mozilla/5.0 (X11; rv:109.0) Gecko/20100101 Firefox/115.0", false),
            ("curl/8", false),
            ("MSIE 6", false),
        ];
        for (agent, want) in cases {
            assert_eq!(wants_padding(agent.as_bytes()), want, "{agent}");
        }
    }
}
