//! Tokens of the text format.

/// Walks over a text, token by token.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Where the current token ends.
    position: usize,
    /// The current token, a string literal with its quotes; empty at the end of the text.
    pub(super) current: &'a str,
}

impl<'a> Tokens<'a> {
    /// Starts at the first token; `None` when it is none.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let mut tokens = Self { text, position: 0, current: "" };
        tokens.advance()?;
        Some(tokens)
    }

    /// Goes to the next token; `None` when there is something else.
    pub(super) fn advance(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let start = skip_blank(bytes, self.position);
        self.position = token_end(bytes, start)?;
        self.current = self.text.get(start..self.position)?;
        Some(())
    }

    /// Goes on when the current token is `token`; says whether it was.
    pub(super) fn take(&mut self, token: &str) -> Option<bool> {
        let is_it = self.current == token;
        if is_it {
            self.advance()?;
        }
        Some(is_it)
    }

    /// Goes on when the current token is `token`, `None` otherwise.
    pub(super) fn expect(&mut self, token: &str) -> Option<()> {
        self.take(token)?.then_some(())
    }
}

/// First position from `position` on that is neither white space nor in a comment.
fn skip_blank(bytes: &[u8], mut position: usize) -> usize {
    while let Some(byte) = bytes.get(position) {
        match byte {
            b' ' | b'\t'..=b'\r' => position += 1,
            b'#' => {
                let comment = bytes[position..].iter().position(|&byte| byte == b'\n');
                position = comment.map_or(bytes.len(), |length| position + length);
            }
            _ => break,
        }
    }
    position
}

fn token_end(bytes: &[u8], start: usize) -> Option<usize> {
    let Some(&first) = bytes.get(start) else { return Some(start) };
    let is_number = match first {
        b'0'..=b'9' | b'+' | b'-' => true,
        b'.' => bytes.get(start + 1).is_some_and(u8::is_ascii_digit),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => false,
        b'"' | b'\'' => return string_end(bytes, start),
        _ => return Some(start + 1),
    };
    if first == b'.' && !is_number {
        return Some(start + 1);
    }
    // A word takes in signs, and a number whatever touches it; the parser refuses both.
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'+' | b'-')
            || (is_number && *byte == b'.')
    };
    let length = bytes[start..].iter().skip(1).take_while(|byte| is_part(byte)).count();
    Some(start + 1 + length)
}

/// End of the string literal that starts with a quote, on the same line.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut position = start + 1;
    loop {
        match *bytes.get(position)? {
            b'\n' => return None,
            b'\\' if *bytes.get(position + 1)? == b'\n' => return None,
            b'\\' => position += 2,
            byte if byte == bytes[start] => return Some(position + 1),
            _ => position += 1,
        }
    }
}
