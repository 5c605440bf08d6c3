use super::*;

/// All events of a stream that comes in these pieces, and how many bytes are left over.
fn read(pieces: &[&[u8]]) -> (Vec<Event>, usize) {
    let mut reader = EventReader::default();
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(event) = reader.next_event().expect("events within the bound") {
            events.push(event);
        }
    }
    reader.close();
    while let Some(event) = reader.next_event().expect("events within the bound") {
        events.push(event);
    }
    (events, reader.unfinished())
}

/// What of the stream is data, however it is cut into pieces.
#[track_caller]
fn check(stream: &[u8], expected: &[&str]) {
    let (whole, left) = read(&[stream]);
    let data: Vec<_> = whole.iter().filter_map(|event| event.data.clone()).collect();
    assert_eq!(data, expected, "{stream:?}");
    let raw: Vec<u8> = whole.iter().flat_map(|event| event.raw.to_vec()).collect();
    assert_eq!(raw, stream[..stream.len() - left], "every byte is in some event");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), (whole.clone(), left), "byte by byte");
    for cut in 0..=stream.len() {
        let (one, other) = stream.split_at(cut);
        assert_eq!(read(&[one, b"", other]), (whole.clone(), left), "cut at {cut}");
    }
}

#[test]
fn lines_end_in_three_ways() {
    check(b"data: a\n\ndata: b\n\n", &["a", "b"]);
    check(b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
    check(b"data: a\r\rdata: b\r\r", &["a", "b"]);
    check(b"data: a\r\n\ndata: b\n\r\n", &["a", "b"]);
    check(b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", &["a", "b", "c"]);
    check(b"data: a\n\rdata: b\n\n", &["a", "b"]);
    check(b"data: a\rdata: b\r\n\r", &["a\nb"]);
}

#[test]
fn a_stream_of_crs_is_not_held_up() {
    let mut reader = EventReader::default();
    reader.push(b"data: a\r\r");
    assert_eq!(reader.next_event().expect("no error").and_then(|event| event.data), Some("a".into()));
    // An LF that follows ends no other line.
    reader.push(b"\ndata: b\r\r");
    let event = reader.next_event().expect("no error").expect("an event");
    assert_eq!((event.data.as_deref(), event.raw.as_ref()), (Some(&b"b"[..]), &b"\ndata: b\r\r"[..]));
    assert_eq!(event.with_data(b"c").raw, "data: c\n\n");
}

#[test]
fn data_are_read_as_the_standard_has_it() {
    check(b"data: a\ndata:b\ndata\ndata:  c\n\n", &["a\nb\n\n c"]);
    check(b"data\n\n", &[""]);
    check(b"data:\n\ndata: \n\n", &["", ""]);
    check(b"Data: a\n data: b\ndata : c\ndatas: d\n\n", &[]);
    check(b"event: message\nid: 1\n\n", &[]);
    check(b"data: a:b: c\n\n", &["a:b: c"]);
    check(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", &["a"]);
    check(b"\xef\xbb\xbf\ndata: a\n\n", &["a"]);
    check(b"\n\n\r\n\rdata: a\n\n\n", &["a"]);
    check(b"", &[]);
}

#[test]
fn what_has_no_end_is_no_event() {
    check(b"data: a\n\ndata: b\n", &["a"]);
    check(b"data: a", &[]);
    check(b"data: a\n", &[]);
    assert_eq!(read(&[b"data: a\n\ndata: b\n"]).1, 8);
    check(b"data: a\n\r", &["a"]);
}

#[test]
fn comments_come_out_as_they_arrive() {
    let mut reader = EventReader::default();
    reader.push(b": keep-alive\n");
    let comment = reader.next_event().expect("no error").expect("a comment");
    assert_eq!((comment.raw.as_ref(), comment.data), (&b": keep-alive\n"[..], None));
    check(b":\n:\r\n\ndata: a\n: within\ndata: b\n\n", &["a\nb"]);
    let within = read(&[b"data: a\n: within\ndata: b\n\n"]).0;
    assert_eq!(within.len(), 1, "one that stands in an event goes with it");
}

#[test]
fn an_event_says_after_which_the_stream_goes_on() {
    let id = |stream: &str| read(&[stream.as_bytes()]).0.pop().expect("an event").id;
    assert_eq!(id("id: e-1\ndata: a\n\n").as_deref(), Some("e-1"));
    assert_eq!(id("id: 1\nid: 2\ndata: a\n\n").as_deref(), Some("2"));
    assert_eq!(id("id\ndata: a\n\n").as_deref(), Some(""));
    assert_eq!(id("id: a\0b\ndata: a\n\n"), None);
    assert_eq!(id("data: a\n\n"), None);
    assert_eq!(read(&[b"id: \xff\n\n"]).0[0].id, None);
}

#[test]
fn other_data_go_under_the_same_id() {
    let stream = b"id: e-1\r\n: note\r\nevent: message\r\ndata: {\r\ndata: }\r\nretry: 5\r\nx: y\r\n\r\n";
    let event = read(&[stream]).0.pop().expect("an event");
    let other = event.with_data(br#"{"tools":[]}"#);
    assert_eq!(other.raw, "id: e-1\nevent: message\nretry: 5\ndata: {\"tools\":[]}\n\n");
    assert_eq!((other.id.as_deref(), other.data.as_deref()), (Some("e-1"), Some(&br#"{"tools":[]}"#[..])));
    assert_eq!(read(&[&other.raw]).0, std::slice::from_ref(&other));
    let lines = event.with_data(b"a\r\nb\rc\n\nid: 2");
    assert_eq!(lines.data.as_deref(), Some(&b"a\nb\nc\n\nid: 2"[..]), "data cannot become a field");
    assert_eq!(lines.id.as_deref(), Some("e-1"));
    assert_eq!(read(&[&lines.raw]).0, [lines]);
    let marked = read(&[b"\xef\xbb\xbfdata: a\n\n"]).0.pop().expect("an event");
    assert_eq!(marked.with_data(b"b").raw, "data: b\n\n");
}

#[test]
fn an_endless_event_is_an_error_and_not_held() {
    let too_large = Err(EventError::TooLarge { bytes_max: EVENT_BYTES_MAX });
    for piece in [&b"x"[..], b"data: x\n", b": x"] {
        let piece = piece.repeat(16_384 / piece.len());
        let mut reader = EventReader::default();
        let mut pushed = 0;
        let error = loop {
            reader.push(&piece);
            pushed += piece.len();
            match reader.next_event() {
                Ok(None) => assert!(pushed <= EVENT_BYTES_MAX, "more is held than the bound"),
                other => break other,
            }
        };
        assert_eq!(error, too_large);
        assert_eq!(reader.next_event(), too_large, "and stays one");
        reader.push(b"\n\ndata: a\n\n");
        assert_eq!((reader.next_event(), reader.unfinished()), (too_large.clone(), 0), "and stays one");
    }
}

#[test]
fn the_bound_is_the_same_however_a_stream_is_cut() {
    let event = b"data: 12\n\n";
    for (bytes_max, is_read) in [(event.len(), true), (event.len() - 1, false)] {
        for size in 1..=event.len() {
            let mut reader = EventReader::bounded(bytes_max);
            let came_to = event.chunks(size).map(|piece| {
                reader.push(piece);
                reader.next_event()
            });
            assert_eq!(came_to.last().is_some_and(|last| last.is_ok()), is_read, "{bytes_max} {size}");
        }
    }
    let mut reader = EventReader::bounded(10);
    reader.push(&event.repeat(1_000));
    for _ in 0..1_000 {
        assert!(reader.next_event().expect("each is within the bound").is_some());
    }
}
