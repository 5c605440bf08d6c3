//! The body of an answer in HTTP/1 (RFC 9112 sections 6 and 7): what of the bytes received belongs to it, and where it ends.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::response::FIELDS_MAX;
use super::{CHUNK_AND_BODY_END, Http1Error};

/// Most digits of a chunk's size that count.
const SIZE_DIGITS: usize = 16;
/// Longest chunk-size line: digits, and whatever extensions anybody sends.
const LINE_BYTES_MAX: usize = 4_096;
/// Most bytes of trailers: they are sums and states, and no headers.
const TRAILER_BYTES_MAX: usize = 4_096;
/// Most bytes of chunk extensions in one body. They say nothing to us, and could be more than what they stand beside.
const EXTENSION_BYTES_MAX: usize = 16_384;
/// How the end of a body is told, and how far it has been read.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
    /// It ends when the connection does.
    UntilClose {
        /// Whether that has been.
        is_over: bool,
    },
}

/// A chunked body (RFC 9112 section 7.1).
#[derive(Debug)]
pub struct Chunked {
    next: Next,
    /// How many bytes of extensions there have been.
    extension_bytes: usize,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The line with a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk.
    Data(u64),
    /// The end of the line after a chunk.
    ChunkEnd,
    /// Trailers, or the empty line that there is instead.
    Trailers,
    /// Nothing: that was all.
    Nothing,
}

impl Framing {
    /// A chunked body of which nothing has been read.
    pub const CHUNKED: Self = Self::Chunked(Chunked { next: Next::ChunkSize, extension_bytes: 0 });

    /// Whether all of the body has been read.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.next == Next::Nothing,
            Self::UntilClose { is_over } => *is_over,
        }
    }

    /// How many bytes are still to come, as far as is known.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            _ if self.is_over() => SizeHint::with_exact(0),
            Self::Chunked(_) | Self::UntilClose { .. } => SizeHint::default(),
        }
    }

    /// How many bytes the next piece may have, as far as is known.
    pub fn next_size(&self) -> Option<u64> {
        match self {
            Self::Length(left) | Self::Chunked(Chunked { next: Next::Data(left), .. }) => Some(*left),
            Self::Chunked(_) | Self::UntilClose { .. } => None,
        }
    }

    /// The next piece of the body in what was `received`, which is taken out of it; `None` while there is none, or when the body is over.
    ///
    /// # Errors
    ///
    /// [`Http1Error`] when what was received is no such body.
    pub fn take(&mut self, received: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Http1Error> {
        match self {
            Self::Length(left) => Ok(take_data(left, received).map(Frame::data)),
            Self::Chunked(chunked) => chunked.take(received),
            Self::UntilClose { .. } if received.is_empty() => Ok(None),
            Self::UntilClose { .. } => Ok(Some(Frame::data(received.split().freeze()))),
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    ///
    /// [`Http1Error::Incomplete`] when there should be more.
    pub fn end(&mut self) -> Result<(), Http1Error> {
        if let Self::UntilClose { is_over } = self {
            *is_over = true;
        }
        if self.is_over() { Ok(()) } else { Err(Http1Error::Incomplete) }
    }
}

impl Chunked {
    fn take(&mut self, received: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Http1Error> {
        loop {
            match &mut self.next {
                Next::ChunkSize => {
                    let Some(line) = take_line(received)? else { return Ok(None) };
                    let (size, extension_bytes) = chunk_size(&line)?;
                    self.extension_bytes += extension_bytes;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(Http1Error::Chunk);
                    }
                    self.next = if size == 0 { Next::Trailers } else { Next::Data(size) };
                }
                Next::Data(left) => {
                    let Some(data) = take_data(left, received) else { return Ok(None) };
                    if *left == 0 {
                        self.next = Next::ChunkEnd;
                        // Nobody has to ask once more to hear that this was all.
                        if received.starts_with(CHUNK_AND_BODY_END) {
                            received.advance(CHUNK_AND_BODY_END.len());
                            self.next = Next::Nothing;
                        }
                    }
                    return Ok(Some(Frame::data(data)));
                }
                Next::ChunkEnd => match **received {
                    [] | [b'\r'] => return Ok(None),
                    [b'\r', b'\n', ..] => {
                        received.advance(2);
                        self.next = Next::ChunkSize;
                    }
                    _ => return Err(Http1Error::Chunk),
                },
                Next::Trailers => {
                    let Some(trailers) = take_trailers(received)? else { return Ok(None) };
                    self.next = Next::Nothing;
                    return Ok(Some(trailers).filter(|trailers| !trailers.is_empty()).map(Frame::trailers));
                }
                Next::Nothing => return Ok(None),
            }
        }
    }
}

/// As much of `left` bytes as there is.
fn take_data(left: &mut u64, received: &mut BytesMut) -> Option<Bytes> {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
    if taken == 0 {
        return None;
    }
    *left -= taken as u64;
    Some(received.split_to(taken).freeze())
}

/// A line without its end, once it is there.
fn take_line(received: &mut BytesMut) -> Result<Option<BytesMut>, Http1Error> {
    let Some(end) = received.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if received.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Http1Error::Chunk) };
    };
    let mut line = received.split_to(end + 1);
    if !line.ends_with(b"\r\n") {
        return Err(Http1Error::Chunk);
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

/// The size that a chunk's line gives, and how many bytes it has beside.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), Http1Error> {
    // A sign, which the parser would take, is no digit.
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let is_extension = matches!(rest.trim_ascii_start(), [] | [b';', ..]) && !rest.contains(&b'\r');
    match size.filter(|_| is_extension) {
        // More zeros than a size has digits say as little.
        Some(size) => Ok((size, line.len().saturating_sub(SIZE_DIGITS))),
        None => Err(Http1Error::Chunk),
    }
}

/// The trailers, once their end is there (RFC 9112 section 7.1.2).
fn take_trailers(received: &mut BytesMut) -> Result<Option<HeaderMap>, Http1Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let known = &received[..received.len().min(TRAILER_BYTES_MAX)];
    let (bytes, trailers) = match httparse::parse_headers(known, &mut fields).map_err(Http1Error::Trailers)? {
        httparse::Status::Partial if known.len() < TRAILER_BYTES_MAX => return Ok(None),
        httparse::Status::Partial => return Err(Http1Error::TrailersTooLong),
        httparse::Status::Complete((bytes, fields)) => (bytes, trailers(fields)?),
    };
    received.advance(bytes);
    Ok(Some(trailers))
}

fn trailers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Http1Error> {
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Http1Error::Trailers(httparse::Error::HeaderValue));
        };
        trailers.append(name, value);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body that comes in such pieces: its bytes, its trailers and what is left over.
    fn read(
        mut framing: Framing,
        pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(String, HeaderMap, String), Http1Error> {
        let (mut received, mut data, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
        for piece in pieces {
            received.extend_from_slice(piece.as_ref());
            while let Some(frame) = framing.take(&mut received)? {
                match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => trailers.extend(frame.into_trailers().expect("data or trailers")),
                }
            }
        }
        framing.end()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&data), trailers, text(&received)))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunked = "5\r\nhello\r\n1;a=\"b\"\r\n \r\n00005 \r\nworld\r\n0\r\nx-sum: 11\r\n\r\n";
        let plain = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        for (framing, bytes, trailers) in [
            (|| Framing::Length(11), "hello world", 0),
            (|| Framing::CHUNKED, chunked, 1),
            (|| Framing::CHUNKED, plain, 0),
            (|| Framing::UntilClose { is_over: false }, "hello world", 0),
        ] as [(fn() -> Framing, &str, usize); 4]
        {
            for cut in 0..bytes.len() {
                let (before, after) = bytes.split_at(cut);
                let (data, fields, rest) = read(framing(), [before, after]).expect("a body");
                assert_eq!((&*data, fields.len(), &*rest), ("hello world", trailers, ""), "{cut}: {bytes:?}");
            }
            let (data, fields, rest) = read(framing(), bytes.as_bytes().chunks(1)).expect("a body");
            assert_eq!(
                (&*data, fields.len(), &*rest),
                ("hello world", trailers, ""),
                "byte by byte: {bytes:?}"
            );
        }
    }

    #[test]
    fn what_comes_after_a_body_is_left() {
        for (framing, bytes) in [
            (Framing::Length(5), "helloHTTP/1.1 200"),
            (Framing::CHUNKED, "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200"),
        ] {
            let (data, _, rest) = read(framing, [bytes]).expect("a body");
            assert_eq!((&*data, &*rest), ("hello", "HTTP/1.1 200"));
        }
    }

    #[test]
    fn a_body_that_ends_early_is_none() {
        for (framing, bytes) in [
            (Framing::Length(6), "hello"),
            (Framing::CHUNKED, "5\r\nhello"),
            (Framing::CHUNKED, "5\r\nhello\r\n"),
            (Framing::CHUNKED, "5\r\nhello\r\n0\r\n"),
            (Framing::CHUNKED, "5\r\nhello\r\n0\r\nx: y\r\n"),
            (Framing::CHUNKED, ""),
        ] {
            assert!(matches!(read(framing, [bytes]), Err(Http1Error::Incomplete)), "{bytes:?}");
        }
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_refused() {
        for bytes in [
            "\r\n",
            "x\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "10000000000000000\r\n",
        ] {
            assert!(matches!(read(Framing::CHUNKED, [bytes]), Err(Http1Error::Chunk)), "{bytes:?}");
        }
        let trailers = "0\r\nno field\r\n\r\n";
        assert!(matches!(read(Framing::CHUNKED, [trailers]), Err(Http1Error::Trailers(_))));
    }

    #[test]
    fn lines_extensions_and_trailers_are_bounded() {
        let endless = format!("5;{}", "x".repeat(LINE_BYTES_MAX));
        assert!(matches!(read(Framing::CHUNKED, [&endless]), Err(Http1Error::Chunk)));

        let half = LINE_BYTES_MAX / 2 + SIZE_DIGITS;
        for line in [format!("1;{}", "x".repeat(half)), format!("{}1", "0".repeat(half))] {
            let chunks = |count| format!("{}0\r\n\r\n", format!("{line}\r\nx\r\n").repeat(count));
            assert!(read(Framing::CHUNKED, [chunks(7)]).is_ok());
            assert!(matches!(read(Framing::CHUNKED, [chunks(8)]), Err(Http1Error::Chunk)));
        }

        let long = format!("0\r\nx: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX));
        assert!(matches!(read(Framing::CHUNKED, [&long]), Err(Http1Error::TrailersTooLong)));
        let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(FIELDS_MAX + 1));
        let refused = read(Framing::CHUNKED, [&many]);
        assert!(matches!(refused, Err(Http1Error::Trailers(httparse::Error::TooManyHeaders))), "{refused:?}");
    }
}
