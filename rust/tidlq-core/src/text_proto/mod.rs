//! Text form of a protobuf message, to and from its binary form.
//!
//! Both directions give what Python's `google.protobuf.text_format` gives (printed as ASCII, repeated
//! numbers as `[1, 2]`), in a fraction of the time. What is rare is refused without a reason: numbers in
//! octal, hexadecimal or with a suffix, NaN, escapes beyond C's, and everything that is wrong. Whoever is
//! refused asks the complete implementation, which also words the error.
//!
//! | file | role |
//! |---|---|
//! | `tokens` | text to tokens |
//! | `parse` | tokens to the wire format |
//! | `print` | a message to text |
//! | `number` | floats as Python prints them |
//!
//! Source: the text format language specification on protobuf.dev.

mod number;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod tokens;

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};

use crate::error::{Error, Result};

/// Length in bytes up to which a text is read: its message stays below protobuf's limit of 2 GiB.
const MAX_TEXT_BYTES: usize = 1 << 28;

/// Reads and prints the messages of one type.
#[derive(Clone, Debug)]
pub struct TextForm {
    message: MessageDescriptor,
}

impl TextForm {
    /// The text form of a message type.
    ///
    /// `files` are serialized `FileDescriptorProto`s, a file after those that it imports; extensions in
    /// them are known. Fails when they do not define `message` (its full name), or when they use
    /// groups, maps, oneofs, `Any` or integers other than `int32`, `int64`, `uint32` and `uint64`.
    pub fn new<'a>(files: impl IntoIterator<Item = &'a [u8]>, message: &str) -> Result<Self> {
        let mut pool = DescriptorPool::new();
        for file in files {
            pool.decode_file_descriptor_proto(file)
                .map_err(|error| Error::Schema { reason: error.to_string() })?;
        }
        if let Some(name) = first_unsupported(&pool) {
            return Err(Error::Schema { reason: format!("{name} is of an unsupported kind") });
        }
        match pool.get_message_by_name(message) {
            Some(message) => Ok(Self { message }),
            None => Err(Error::Schema { reason: format!("it has no message {message}") }),
        }
    }

    /// The binary form of a text; `None` when the text is refused.
    ///
    /// Repeated numbers are not packed, which every decoder accepts.
    pub fn to_binary(&self, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        parse::parse(&self.message, text)
    }

    /// The text of a binary form: fields by number, one on a line; `None` when the binary form is
    /// refused. Fields that the schema does not have are left out.
    pub fn to_text(&self, binary: &[u8]) -> Option<String> {
        print::print(&DynamicMessage::decode(self.message.clone(), binary).ok()?)
    }
}

/// Name of a field that this module would treat otherwise than the complete implementation.
fn first_unsupported(pool: &DescriptorPool) -> Option<String> {
    let fields = pool.all_messages().find_map(|message| {
        let is_any = message.full_name() == "google.protobuf.Any";
        let field = message.fields().find(|field| {
            is_any
                || field.is_group()
                || field.is_map()
                || field.containing_oneof().is_some()
                || !is_supported(&field.kind())
        })?;
        Some(field.full_name().to_owned())
    });
    fields.or_else(|| {
        let extension = pool
            .all_extensions()
            .find(|extension| extension.is_group() || !is_supported(&extension.kind()))?;
        Some(extension.full_name().to_owned())
    })
}

fn is_supported(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64
    )
}
