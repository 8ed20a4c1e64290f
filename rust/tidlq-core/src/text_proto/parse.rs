//! Tokens to the wire format.

use std::str::FromStr;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{EnumDescriptor, Kind, MessageDescriptor};

use super::tokens::Tokens;

/// Messages may lie this deep in each other.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(message: &MessageDescriptor, text: &str) -> Option<Vec<u8>> {
    let mut parser = Parser { tokens: Tokens::new(text)?, depth: 0 };
    let mut binary = Vec::new();
    parser.fields(message, "", &mut binary)?;
    Some(binary)
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

/// What the wire format needs to know of a field or an extension.
struct Field {
    number: u32,
    kind: Kind,
    is_list: bool,
}

impl Parser<'_> {
    /// Reads the fields of a message up to the token `end`, which is left.
    fn fields(
        &mut self,
        message: &MessageDescriptor,
        end: &str,
        binary: &mut Vec<u8>,
    ) -> Option<()> {
        let mut single = Vec::new();
        while self.tokens.current != end {
            let field = self.field_name(message)?;
            if !field.is_list {
                if single.contains(&field.number) {
                    return None;
                }
                single.push(field.number);
            }
            let has_colon = self.tokens.take(":")?;
            if !has_colon && !matches!(field.kind, Kind::Message(_)) {
                return None;
            }
            if field.is_list && self.tokens.take("[")? {
                self.elements(&field, binary)?;
            } else {
                self.value(&field, binary)?;
            }
            if !self.tokens.take(",")? {
                self.tokens.take(";")?;
            }
        }
        Some(())
    }

    fn field_name(&mut self, message: &MessageDescriptor) -> Option<Field> {
        if !self.tokens.take("[")? {
            let field = message.get_field_by_name(self.tokens.current)?;
            self.tokens.advance()?;
            let (number, kind, is_list) = (field.number(), field.kind(), field.is_list());
            return Some(Field { number, kind, is_list });
        }
        let mut name = self.tokens.current.to_owned();
        self.tokens.advance()?;
        while self.tokens.take(".")? {
            name.push('.');
            name.push_str(self.tokens.current);
            self.tokens.advance()?;
        }
        self.tokens.expect("]")?;
        let extension = message.get_extension_by_full_name(&name)?;
        let (number, kind, is_list) = (extension.number(), extension.kind(), extension.is_list());
        Some(Field { number, kind, is_list })
    }

    /// Reads what follows the bracket that opens a list.
    fn elements(&mut self, field: &Field, binary: &mut Vec<u8>) -> Option<()> {
        if self.tokens.take("]")? {
            return Some(());
        }
        loop {
            self.value(field, binary)?;
            if self.tokens.take("]")? {
                return Some(());
            }
            self.tokens.expect(",")?;
        }
    }

    fn value(&mut self, field: &Field, binary: &mut Vec<u8>) -> Option<()> {
        let number = field.number;
        let token = self.tokens.current;
        match &field.kind {
            Kind::Message(message) => {
                let body = self.body(message)?;
                return put_bytes(number, &body, binary);
            }
            Kind::String => {
                let value = self.strings()?;
                str::from_utf8(&value).ok()?;
                return put_bytes(number, &value, binary);
            }
            Kind::Bytes => {
                let value = self.strings()?;
                return put_bytes(number, &value, binary);
            }
            Kind::Float => {
                encode_key(number, WireType::ThirtyTwoBit, binary);
                binary.extend((float(token)? as f32).to_le_bytes());
            }
            Kind::Double => {
                encode_key(number, WireType::SixtyFourBit, binary);
                binary.extend(float(token)?.to_le_bytes());
            }
            Kind::Int32 => put_varint(number, integer::<i32>(token)? as u64, binary),
            Kind::Int64 => put_varint(number, integer::<i64>(token)? as u64, binary),
            Kind::Uint32 => put_varint(number, integer::<u32>(token)?.into(), binary),
            Kind::Uint64 => put_varint(number, integer(token)?, binary),
            Kind::Bool => put_varint(number, boolean(token)?.into(), binary),
            Kind::Enum(values) => put_varint(number, enumerator(values, token)? as u64, binary),
            _ => return None,
        }
        self.tokens.advance()
    }

    fn body(&mut self, message: &MessageDescriptor) -> Option<Vec<u8>> {
        let end = match self.tokens.current {
            "{" => "}",
            "<" => ">",
            _ => return None,
        };
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.tokens.advance()?;
        let mut binary = Vec::new();
        self.depth += 1;
        self.fields(message, end, &mut binary)?;
        self.depth -= 1;
        self.tokens.advance()?;
        Some(binary)
    }

    /// Reads a string literal and those that follow it directly.
    fn strings(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let is_string = |token: &str| token.starts_with(['"', '\'']);
        if !is_string(self.tokens.current) {
            return None;
        }
        while is_string(self.tokens.current) {
            let literal = self.tokens.current.as_bytes();
            unescape(&literal[1..literal.len() - 1], &mut bytes)?;
            self.tokens.advance()?;
        }
        Some(bytes)
    }
}

fn put_varint(number: u32, value: u64, binary: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, binary);
    encode_varint(value, binary);
}

fn put_bytes(number: u32, bytes: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    encode_key(number, WireType::LengthDelimited, binary);
    encode_varint(bytes.len() as u64, binary);
    binary.extend_from_slice(bytes);
    Some(())
}

/// A decimal integer that fits the type. A leading zero would mean octal.
fn integer<T: FromStr>(token: &str) -> Option<T> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    if digits != "0" && digits.starts_with(['0', '+']) {
        return None;
    }
    token.parse().ok()
}

/// A decimal float or infinity. Python takes a leading zero for octal and refuses it.
fn float(token: &str) -> Option<f64> {
    let digits = token.strip_prefix('-').unwrap_or(token).as_bytes();
    if digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    // Rust leaves open which NaN a conversion to float32 gives.
    token.parse().ok().filter(|value: &f64| !value.is_nan())
}

fn boolean(token: &str) -> Option<bool> {
    match token {
        "true" | "True" | "t" | "1" => Some(true),
        "false" | "False" | "f" | "0" => Some(false),
        _ => None,
    }
}

fn enumerator(values: &EnumDescriptor, token: &str) -> Option<i32> {
    let by_name = values.get_value_by_name(token);
    let value = by_name.or_else(|| values.get_value(integer(token)?))?;
    Some(value.number())
}

/// Appends what the inside of a string literal stands for.
fn unescape(mut text: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    while let Some(start) = text.iter().position(|&byte| byte == b'\\') {
        let (byte, length) = escaped_byte(&text[start + 1..])?;
        bytes.extend_from_slice(&text[..start]);
        bytes.push(byte);
        text = &text[start + 1 + length..];
    }
    bytes.extend_from_slice(text);
    Some(())
}

/// The byte of an escape sequence whose backslash is gone, and the sequence's length.
fn escaped_byte(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match *text.first()? {
        b'0'..=b'7' => return digits(text, 8, 3),
        b'x' => return digits(&text[1..], 16, 2).map(|(byte, length)| (byte, 1 + length)),
        b'a' => 0x07,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        byte @ (b'\\' | b'\'' | b'"') => byte,
        _ => return None,
    };
    Some((byte, 1))
}

/// The number that up to `most` digits at the start of the text form, and how many there are.
fn digits(text: &[u8], radix: u32, most: usize) -> Option<(u8, usize)> {
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let length = text.iter().take(most).take_while(is_digit).count();
    let number = str::from_utf8(&text[..length]).ok()?;
    Some((u8::from_str_radix(number, radix).ok()?, length))
}
