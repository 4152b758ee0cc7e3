//! Requests as the strictest of applications reads them, to find out whether everybody would read the same.

/// What the bytes of a connection begin with.
#[derive(Debug)]
pub(crate) enum Read {
    /// A whole request, so many bytes long.
    Whole(usize),
    /// The beginning of one; `true`: all of its head.
    Part(bool),
}

/// How the end of a body is known.
enum Body {
    Length(usize),
    Chunked,
}

/// Reads the first request; `Err` where it could be read in two ways, or has what ends at an edge.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        check_lines(bytes)?;
        return Ok(Read::Part(false));
    };
    let head = &bytes[..end];
    check_lines(head)?;
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    check_first(lines.next().unwrap_or_default())?;
    let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
    let body = check_headers(&headers)?;
    let length = match body {
        Body::Length(length) if bytes.len() - end - 4 >= length => length,
        Body::Length(_) => return Ok(Read::Part(true)),
        Body::Chunked => match chunks(&bytes[end + 4..])? {
            Some(length) => length,
            None => return Ok(Read::Part(true)),
        },
    };
    Ok(Read::Whole(end + 4 + length))
}

/// Whether its head says that it waits to be asked for the body.
pub(crate) fn expects(bytes: &[u8]) -> bool {
    let head = find(bytes, b"\r\n\r\n").map_or(bytes, |end| &bytes[..end]);
    String::from_utf8_lossy(head).to_ascii_lowercase().contains("\r\nexpect: 100-continue")
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// No carriage return without a line feed, no line feed without a carriage return, no other control character.
fn check_lines(bytes: &[u8]) -> Result<(), String> {
    for (at, byte) in bytes.iter().enumerate() {
        let good = match byte {
            b'\r' => bytes.get(at + 1).is_none_or(|next| *next == b'\n'),
            b'\n' => at > 0 && bytes[at - 1] == b'\r',
            b'\t' => true,
            byte => *byte >= b' ' && *byte != 0x7f,
        };
        if !good {
            return Err(format!("the byte {byte:#x} at {at} of a head"));
        }
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_first(line: &str) -> Result<(), String> {
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words.as_slice() else {
        return Err(format!("the first line {line:?}"));
    };
    let good = is_token(method)
        && (target.starts_with('/') || *target == "*" && *method == "OPTIONS")
        && !target.contains(['\t', '#']);
    if good { Ok(()) } else { Err(format!("the first line {line:?}")) }
}

/// A line as it is, its name in small letters.
fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("the line {line:?}"))?;
    if !is_token(name) {
        return Err(format!("the name of the line {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn check_headers(headers: &[(String, String)]) -> Result<Body, String> {
    let all = |wanted: &str| -> Vec<&str> {
        headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    let once = [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-real-ip",
        "x-request-id",
    ];
    for name in once {
        if all(name).len() != 1 {
            return Err(format!("{name}: {:?}", all(name)));
        }
    }
    for name in headers.iter().map(|(name, _)| name.replace('_', "-")) {
        let ends_here = matches!(
            name.as_str(),
            "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "http2-settings"
                | "forwarded"
        );
        if ends_here || name.starts_with("temps-") {
            return Err(format!("a line {name}"));
        }
    }
    let alike = headers.iter().find(|(name, _)| {
        name.contains('_')
            && matches!(
                &*name.replace('_', "-"),
                "content-length" | "transfer-encoding" | "x-forwarded-for" | "x-real-ip" | "x-request-id"
            )
    });
    if let Some((name, _)) = alike {
        return Err(format!("a line {name}"));
    }
    if all("te").iter().any(|te| *te != "trailers") {
        return Err(format!("te: {:?}", all("te")));
    }
    match (all("connection").as_slice(), all("upgrade").as_slice()) {
        ([], []) => {}
        (["upgrade"], [protocol]) if !protocol.eq_ignore_ascii_case("h2c") => {}
        (connection, upgrade) => return Err(format!("connection: {connection:?}, upgrade: {upgrade:?}")),
    }
    match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
        ([], []) => Ok(Body::Length(0)),
        ([], ["chunked"]) => Ok(Body::Chunked),
        ([length], []) => {
            let plain =
                length.bytes().all(|b| b.is_ascii_digit()) && (*length == "0" || !length.starts_with('0'));
            match length.parse() {
                Ok(length) if plain => Ok(Body::Length(length)),
                Ok(_) | Err(_) => Err(format!("content-length: {length:?}")),
            }
        }
        (lengths, codings) => Err(format!("lengths {lengths:?} and codings {codings:?}")),
    }
}

/// How long a chunked body is; `None`: it has not ended yet.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| !line.starts_with(['+', '-']));
        let size = size.ok_or_else(|| format!("the size {line:?} of a chunk"))?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(after) = bytes[at..].get(size..size.saturating_add(2)) else { return Ok(None) };
        if after != b"\r\n" {
            return Err(format!("{after:?} after a chunk"));
        }
        at += size + 2;
    }
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        check_lines(line)?;
        let (name, _) = header(&String::from_utf8_lossy(line))?;
        if matches!(&*name, "host" | "content-length" | "transfer-encoding") || name.starts_with("temps-") {
            return Err(format!("a trailer {name}"));
        }
    }
}
