use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::{Cutter, LINE_BYTES, LogLine, RotatedLog, Source, Until, last_lines, lines};

fn write(log: &mut RotatedLog, text: &[u8]) {
    log.write(&Cutter::new(Source::Out).take(7, text));
}

async fn read(dir: &Path, tail: usize) -> Vec<Vec<u8>> {
    let read: Vec<LogLine> = lines(dir.to_owned(), tail, Until::Now).try_collect().await.expect("readable");
    read.into_iter().map(|line| line.bytes.to_vec()).collect()
}

#[test]
fn every_byte_comes_back() {
    let text: Vec<u8> = (0..=255u8).filter(|b| *b != b'\n').collect();
    let mut file = Vec::new();
    LogLine::encode(1_700_000_000_000, Source::Err, true, &text, &mut file);
    file.pop();
    let expected =
        LogLine { at: 1_700_000_000_000, source: Source::Err, whole: true, bytes: Bytes::from(text) };
    assert_eq!(LogLine::decode(&Bytes::from(file)), Some(expected));
    for hostile in [&b""[..], b" ", b"x out y", b"1", b"1 out", b"1 zzz y", b"99999999999999999999999 out y"]
    {
        assert_eq!(LogLine::decode(&Bytes::copy_from_slice(hostile)), None);
    }
}

#[test]
fn lines_are_cut_wherever_the_stream_is() {
    let mut cutter = Cutter::new(Source::Out);
    assert_eq!(cutter.take(1, b"a"), b"");
    assert_eq!(cutter.take(2, b"b\n\nc"), b"2 out ab\n2 out \n");
    assert_eq!(cutter.finish(3), b"3 out c\n");
    assert_eq!(cutter.finish(3), b"");

    let long = vec![b'x'; 2 * LINE_BYTES + 5];
    let mut file = cutter.take(4, &long);
    file.extend(cutter.take(5, b"\n"));
    let parts: Vec<LogLine> = file
        .split(|b| *b == b'\n')
        .filter_map(|line| LogLine::decode(&Bytes::copy_from_slice(line)))
        .collect();
    assert_eq!(parts.iter().map(|p| p.whole).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(parts.iter().map(|p| p.bytes.len()).sum::<usize>(), long.len());
}

#[tokio::test]
async fn the_tail_spans_rotated_files() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(read(dir.path(), 5).await.is_empty());
    let mut log = RotatedLog::new(dir.path(), 100);
    for n in 0..20 {
        write(&mut log, format!("line {n:04}\n").as_bytes());
    }
    let sizes: u64 = std::fs::read_dir(dir.path())
        .expect("listed")
        .map(|e| e.expect("entry").metadata().expect("metadata").len())
        .sum();
    assert!(sizes <= 300, "{sizes} bytes");
    assert_eq!(read(dir.path(), 0).await.len(), 0);
    assert_eq!(read(dir.path(), 1).await, [b"line 0019"]);
    let tail = read(dir.path(), 9).await;
    assert_eq!(tail.first().map(Vec::as_slice), Some(&b"line 0011"[..]));
    assert_eq!(tail.len(), 9);
    assert_eq!(last_lines(dir.path(), 2), ["line 0018", "line 0019"]);
    assert_eq!(read(dir.path(), usize::MAX).await.len(), last_lines(dir.path(), 1_000).len());
}

#[tokio::test]
async fn following_goes_on_over_rotation_until_the_instance_has_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = RotatedLog::new(dir.path(), 64);
    write(&mut log, b"before\n");
    let mut stream = Box::pin(lines(dir.path().to_owned(), 10, Until::Ended));
    let first = stream.next().await.expect("a line").expect("readable");
    assert_eq!(&first.bytes[..], b"before");
    // Two files' worth at a time: as much as can be kept while the reader catches up.
    for n in 0..30 {
        write(&mut log, format!("line {n}\n").as_bytes());
        let line = stream.next().await.expect("a line").expect("readable");
        assert_eq!(line.bytes, format!("line {n}"));
    }
    write(&mut log, b"last\n");
    std::fs::write(dir.path().join("exit.json"), b"{}").expect("written");
    let rest: Vec<_> = stream.map(|l| l.expect("readable").bytes).collect().await;
    assert_eq!(rest, ["last"]);
}

#[test]
fn a_tail_is_printable() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = RotatedLog::new(dir.path(), 1_000_000);
    write(&mut log, b"\x1b[31mred\x1b[0m\tand\x07 \xff bad\n");
    write(&mut log, "ä".repeat(500).as_bytes());
    write(&mut log, b"\n");
    let mut cutter = Cutter::new(Source::Out);
    let mut long = cutter.take(1, "ä".repeat(500).as_bytes());
    long.extend(cutter.finish(1));
    log.write(&long);
    let tail = last_lines(dir.path(), 3);
    assert_eq!(tail[0], "red and \u{fffd} bad");
    let cut = tail.last().expect("a line");
    assert!(cut.len() <= 400 && cut.ends_with('…'), "{} bytes", cut.len());
}
