//! Bytes of a file to records: a line each, or a JSON object that is spread over lines.
//!
//! An object that is not closed at the end of its line takes the following lines too, until it is closed; unless it
//! never is, or a line starts another object at its first byte: then it is one bad line, and no other suffers for it.
//!
//! Limits: a line counts up to one byte more than 32 MiB, so that the decoder refuses it; the rest of it is passed over.
//! An object spreads over at most 20,000 lines and 4 MiB.

use std::collections::VecDeque;
use std::io::{BufRead, Read, Result};

use memchr::{memchr, memchr2};

/// Longest line that is decoded, bytes.
const MAX_LINE_BYTES: u64 = 32 << 20;
const MAX_SPREAD_LINES: usize = 20_000;
const MAX_SPREAD_BYTES: usize = 4 << 20;

/// Records of a reader.
#[derive(Debug)]
pub(crate) struct Records<R> {
    reader: R,
    /// Lines that were read ahead.
    ahead: VecDeque<Vec<u8>>,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, ahead: VecDeque::new() }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => read_line(&mut self.reader),
        }
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let mut scan = Scan::default();
        scan.take(&first);
        if !first.starts_with(b"{") || !scan.is_open() {
            return Ok(Some(first));
        }
        let mut more: Vec<Vec<u8>> = Vec::new();
        let mut bytes = first.len();
        while scan.is_open() && more.len() < MAX_SPREAD_LINES && bytes < MAX_SPREAD_BYTES {
            let Some(line) = self.line()? else { break };
            let is_another = line.starts_with(b"{");
            bytes += line.len() + 1;
            if !is_another {
                scan.take(&line);
            }
            more.push(line);
            if is_another {
                break;
            }
        }
        if scan.is_open() {
            more.into_iter().rev().for_each(|line| self.ahead.push_front(line));
            return Ok(Some(first));
        }
        let mut whole = first;
        for line in more {
            whole.push(b'\n');
            whole.extend(line);
        }
        Ok(Some(whole))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Result<Vec<u8>>> {
        self.record().transpose()
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > MAX_LINE_BYTES {
        reader.skip_until(b'\n')?;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

/// What stands behind a string that was opened; nothing when it is not closed.
fn after_string(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Depth of brackets outside strings.
#[derive(Debug, Default)]
struct Scan {
    depth: i64,
}

impl Scan {
    fn take(&mut self, line: &[u8]) {
        let mut rest = line;
        // A string does not go over the end of a line.
        while let Some(quote) = memchr(b'"', rest) {
            self.take_between(&rest[..quote]);
            rest = after_string(&rest[quote + 1..]);
        }
        self.take_between(rest);
    }

    /// What stands between strings.
    fn take_between(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
    }

    fn is_open(&self) -> bool {
        self.depth > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<String> {
        Records::new(text.as_bytes()).map(|r| String::from_utf8(r.unwrap()).unwrap()).collect()
    }

    #[test]
    fn lines_are_records_and_an_object_over_lines_is_one() {
        assert_eq!(records("{\"a\":1}\r\n{\"b\":2}\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(records("{\n  \"a\": \"}\"\n}\n{\"b\":2}"), ["{\n  \"a\": \"}\"\n}", "{\"b\":2}"]);
        assert_eq!(records("\n\nx\n"), ["", "", "x"]);
        // Brackets in strings, quotes and backslashes in strings, and a string that does not end.
        assert_eq!(records("{\"a\":\"\\\"{\"}\n{\"b\":\"\\\\\"}\n2"), ["{\"a\":\"\\\"{\"}", "{\"b\":\"\\\\\"}", "2"]);
        assert_eq!(records("{\"a\":\"x\\\n}\n{}"), ["{\"a\":\"x\\\n}", "{}"]);
    }

    #[test]
    fn a_line_that_was_cut_is_one_bad_record_and_harms_no_other() {
        assert_eq!(records("{\"a\":\n{\"b\":2}\n{\"c\":3}\n"), ["{\"a\":", "{\"b\":2}", "{\"c\":3}"]);
        assert_eq!(records("{\"a\":{\n1\n2"), ["{\"a\":{", "1", "2"]);
    }

    #[test]
    fn a_line_without_end_is_cut_one_byte_past_the_limit() {
        let long = std::io::BufReader::new(std::io::repeat(b'x').take(MAX_LINE_BYTES * 2)).chain(&b"\n{}"[..]);
        let found: Vec<usize> = Records::new(std::io::BufReader::new(long)).map(|r| r.unwrap().len()).collect();
        assert_eq!(found, [(MAX_LINE_BYTES + 1) as usize, 2]);
    }
}
