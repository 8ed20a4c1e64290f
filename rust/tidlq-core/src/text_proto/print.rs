//! A message to text.

use std::fmt::Write;

use prost_reflect::{DynamicMessage, Kind, Value};

use super::number::{print_f32, print_f64};

const INDENT: usize = 2;

/// The text of a message; `None` when an enumeration has a number without a name.
pub(super) fn print(message: &DynamicMessage) -> Option<String> {
    let mut printer = Printer { out: String::new(), scratch: String::new(), indent: 0 };
    printer.message(message)?;
    Some(printer.out)
}

struct Printer {
    out: String,
    /// Where digits are sorted out.
    scratch: String,
    indent: usize,
}

impl Printer {
    fn message(&mut self, message: &DynamicMessage) -> Option<()> {
        let own = message
            .fields()
            .map(|(field, value)| (field.number(), field.name().to_owned(), field.kind(), value));
        let extensions = message.extensions().map(|(extension, value)| {
            let name = format!("[{}]", extension.full_name());
            (extension.number(), name, extension.kind(), value)
        });
        let mut fields: Vec<_> = own.chain(extensions).collect();
        fields.sort_by_key(|(number, ..)| *number);
        for (_, name, kind, value) in fields {
            self.field(&name, &kind, value)?;
        }
        Some(())
    }

    fn field(&mut self, name: &str, kind: &Kind, value: &Value) -> Option<()> {
        match value {
            Value::List(values)
                if matches!(kind, Kind::Message(_) | Kind::String | Kind::Bytes) =>
            {
                values.iter().try_for_each(|value| self.field(name, kind, value))
            }
            Value::Message(message) => {
                self.start_line(name, " {\n");
                self.indent += INDENT;
                self.message(message)?;
                self.indent -= INDENT;
                self.start_line("}", "\n");
                Some(())
            }
            Value::List(values) => {
                let mut opening = ": [";
                self.start_line(name, "");
                for value in values {
                    self.out.push_str(opening);
                    self.scalar(kind, value)?;
                    opening = ", ";
                }
                self.out.push_str("]\n");
                Some(())
            }
            scalar => {
                self.start_line(name, ": ");
                self.scalar(kind, scalar)?;
                self.out.push('\n');
                Some(())
            }
        }
    }

    fn start_line(&mut self, first: &str, second: &str) {
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        self.out.push_str(first);
        self.out.push_str(second);
    }

    fn scalar(&mut self, kind: &Kind, value: &Value) -> Option<()> {
        let out = &mut self.out;
        match value {
            Value::F32(value) => print_f32(out, &mut self.scratch, *value).ok(),
            Value::F64(value) => print_f64(out, &mut self.scratch, *value).ok(),
            Value::Bool(value) => write!(out, "{value}").ok(),
            Value::I32(value) => write!(out, "{value}").ok(),
            Value::I64(value) => write!(out, "{value}").ok(),
            Value::U32(value) => write!(out, "{value}").ok(),
            Value::U64(value) => write!(out, "{value}").ok(),
            Value::EnumNumber(number) => {
                out.push_str(kind.as_enum()?.get_value(*number)?.name());
                Some(())
            }
            Value::String(text) => {
                print_string(out, text.as_bytes());
                Some(())
            }
            Value::Bytes(bytes) => {
                print_string(out, bytes);
                Some(())
            }
            Value::Message(_) | Value::List(_) | Value::Map(_) => None,
        }
    }
}

fn print_string(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'"' | b'\'' | b'\\' => out.extend(['\\', byte.into()]),
            b' '..=b'~' => out.push(byte.into()),
            _ => out.extend(['\\', octal(byte >> 6), octal(byte >> 3), octal(byte)]),
        }
    }
    out.push('"');
}

/// The digit of the lowest three bits.
fn octal(bits: u8) -> char {
    (b'0' + bits % 8).into()
}
