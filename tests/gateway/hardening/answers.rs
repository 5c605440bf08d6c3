//! Reads answers of HTTP/1.1 in the strictest way, so that one that was split, or had something put into it, is found out.

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub request_id: Option<String>,
}

/// All answers of a connection, one after the other to the last byte.
pub fn read(mut bytes: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let fault = |what: &str| format!("{what}: {:?}", String::from_utf8_lossy(bytes));
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| fault("a head without an end"))?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| fault("a head of other than ASCII"))?;
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|status| status.get(..3)?.parse().ok());
        let status: u16 = status.ok_or_else(|| fault("a status line that is none"))?;
        let mut body = Some(0);
        let mut request_id = None;
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or_else(|| fault("a line without a name"))?;
            match name {
                "content-length" => body = value.parse().ok(),
                "transfer-encoding" => body = None,
                "obo-request-id" => request_id = Some(value.to_owned()),
                _ => {}
            }
        }
        let rest = &bytes[end + 4..];
        let length = match body {
            Some(length) => length,
            None => find(rest, b"0\r\n\r\n").ok_or_else(|| fault("a body without an end"))? + 5,
        };
        bytes = rest.get(length..).ok_or_else(|| fault("a body that breaks off"))?;
        answers.push(Answer { status, request_id });
    }
    Ok(answers)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
